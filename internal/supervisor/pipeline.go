package supervisor

import (
	"context"
	"errors"
	"strings"
	"time"

	"tqserver/internal/build"
	"tqserver/internal/state"
)

// pipeline is what is built of a page.
type pipeline struct {
	buildNumber int         // of the newest build that counts
	lastBuild   state.Build // the newest attempt
	lastSave    change      // what the newest build is about
	building    attempt     // the zero value is none
	again       *change     // build once more after this one
	learning    id          // how to build the page faster; 0 if that is not under way
	burst       burst
	rebuildAt   time.Time // of lastSave; only while no build runs
	ownWrites   ownWrites

	buildErrors int // builds in a row that could not be made
	staleBuilds int // builds in a row that had missed a save

	newestGood  version // the newest good build
	lastServed  version // that serves, or served last
	previous    version // that served before it, unless it was put back for it
	retryReason reason  // of a start whose binary was gone, while it is built again
}

// change is a save.
type change struct {
	file  string // empty at start
	at    time.Time
	stale bool // nobody saved: the build before may have missed a save
	again bool // nobody saved: what could not be done is tried again
}

// attempt is a build that runs.
type attempt struct {
	id        id
	change    change
	force     bool
	startedAt time.Time
}

const (
	burstAfter = time.Second
	steadyGap  = time.Second
)

// burst tells canReplace saving from a save now and then.
type burst struct{ since, last time.Time }

// starves notes a save during a build and reports whether the build must run
// to its end nevertheless, because saves, each within a second of the one
// before, have kept builds from it for a second.
func (b *burst) starves(now time.Time) bool {
	if b.last.IsZero() || now.Sub(b.last) >= steadyGap {
		b.since = now
	}
	b.last = now
	return now.Sub(b.since) >= burstAfter
}

// apply starts the first build.
func (opened) apply(d *decision) { d.build(change{at: d.now.time}, false) }

func (e saved) apply(d *decision) {
	if !d.isOwnWrite(e.change) {
		d.save(e.change)
	}
}

// save acts on a change on disk.
func (d *decision) save(c change) {
	if d.goal == closing || d.goal == stopped {
		return
	}
	d.resetBackoff()
	starves := d.burst.starves(d.now.time)
	if d.building.id != 0 && !starves {
		d.do(cancelBuild{})
	}
	d.buildOrQueue(c)
}

// buildUnlessPaused builds without a save. While watching is paused it waits, as it
// would build the saves that wait too.
func (d *decision) buildUnlessPaused(c change) {
	if d.now.paused {
		d.do(missSave{})
	} else {
		d.buildOrQueue(c)
	}
}

// buildOrQueue builds, or does so when the build has ended that runs.
func (d *decision) buildOrQueue(c change) {
	if d.building.id == 0 {
		d.build(c, false)
	} else {
		d.again = &c
	}
}

// build begins a build. There is none.
func (d *decision) build(c change, force bool) {
	d.again, d.rebuildAt = nil, time.Time{}
	if d.ownWrites.waiting {
		d.ownWrites.waiting, d.ownWrites.waited = false, true
	}
	d.ownWrites.stopped = false
	d.cancelLearning()
	d.lastID++
	d.building = attempt{id: d.lastID, change: c, force: force, startedAt: d.now.time}
	if c.file == "" && d.buildNumber == 0 {
		d.publishEvent(state.LevelInfo, "building") // the first can take long
	}
	d.do(startBuild{attempt: d.building, dir: d.dir, settled: c.at.Add(d.cfg.debounce)})
	d.do(prioritizeBuild{d.dir})
}

// cancelBuild gives up what is built, and what would be next.
func (d *decision) cancelBuild() {
	if d.again = nil; d.building.id != 0 {
		d.do(cancelBuild{})
	}
}

func (d *decision) cancelLearning() {
	if d.learning != 0 {
		d.do(cancelLearning{})
		d.learning = 0
	}
}

// buildIn plans a build.
func (d *decision) buildIn(pause time.Duration, c change) {
	d.lastSave = c
	d.rebuildAt = d.in(pause)
}

// apply gives a build that requests wait for priority, and wakes a page that
// sleeps.
func (requested) apply(d *decision) {
	switch {
	case d.building.id != 0:
		d.do(prioritizeBuild{d.dir})
	case d.goal == asleep:
		d.wake()
	}
}

// apply handles the end of a build.
func (e built) apply(d *decision) {
	a, res := d.building, e.result
	d.building = attempt{}
	if d.goal == closing || d.goal == stopped {
		return
	}
	if errors.Is(e.err, context.Canceled) {
		if d.again != nil {
			d.build(*d.again, a.force)
		}
		return
	}
	d.lastSave = a.change
	if !res.Cached && !res.Stale {
		d.learn()
	}
	if e.err == nil {
		d.buildErrors = 0
	}
	newest := state.Build{Number: d.buildNumber + 1, Trigger: d.show(a.change.file), Started: a.startedAt, Took: state.Seconds(e.took), Cached: res.Cached, Problems: res.Problems}
	switch {
	case e.err != nil:
		newest.Problems = []state.Problem{{Message: e.err.Error()}}
		d.buildNumber, d.lastBuild = newest.Number, newest
		d.buildFailed()
		if !errors.Is(e.err, build.ErrNoGo) { // a full disk has space again some day
			d.buildErrors++
			d.buildIn(max(time.Second, d.pause(0, d.buildErrors)), change{file: a.change.file, at: a.change.at, stale: a.change.stale, again: true})
		}
	case res.Binary == "":
		d.buildNumber, d.lastBuild = newest.Number, newest
		d.buildFailed()
	case res.RolledBackTo != "" && !d.now.development:
		d.keepRolledBack(res.Binary, res.RolledBackTo, newest)
	default:
		d.buildSucceeded(a, e, newest)
	}
	if res.InputsErr != nil && !errors.Is(res.InputsErr, build.ErrNoGo) {
		d.publishEvent(state.LevelWarn, "cannot determine which files the page is built from", state.String("err", res.InputsErr.Error()))
	}
	switch {
	case d.building.id != 0:
	case d.again != nil:
		d.build(*d.again, false)
	case res.Stale && e.err == nil:
		d.rebuildStale()
	}
}

// rebuildStale builds once more what has changed while it was built, if nobody says
// so.
func (d *decision) rebuildStale() {
	d.staleBuilds++
	d.buildIn(d.pause(0, d.staleBuilds), change{at: d.now.time, stale: true})
}

func (d *decision) buildFailed() {
	d.failure, d.lastOutput = state.Trouble{Kind: state.TroubleBuild, Text: "the newest build failed"}, lastOutput{}
	attrs := []state.Attr{state.Int("build", d.buildNumber), state.Duration("took", d.lastBuild.Took)}
	if d.lastBuild.Trigger != "" {
		attrs = append(attrs, state.String("file", d.lastBuild.Trigger))
	}
	if d.serves() {
		attrs = append(attrs, state.Int("serving", d.lastServed.build))
	}
	problems := make([]string, len(d.lastBuild.Problems))
	for i, problem := range d.lastBuild.Problems {
		problems[i] = problem.String()
	}
	attrs = append(attrs, state.String("err", strings.Join(problems, "\n")))
	d.publishEvent(state.LevelError, "build failed", attrs...)
	switch {
	case d.coming(), d.goal == asleep:
	case d.serves():
		if d.anyOutdated() {
			d.replace(configuration, d.lastServed)
		}
	case !d.nextTry().IsZero():
	case d.lastServed.binary != "":
		d.replace(crash, d.lastServed) // it had ended by itself
	}
}

// anyOutdated reports whether a worker serves with other settings than those in
// force.
func (d *decision) anyOutdated() bool {
	for _, s := range d.seats {
		if s.serving.id != 0 && d.outdated(s.serving) {
			return true
		}
	}
	return false
}

// buildSucceeded starts a binary, unless that is what serves or starts already.
func (d *decision) buildSucceeded(a attempt, e built, newest state.Build) {
	binary := e.result.Binary
	failed, last, coming := d.failure, d.lastOutput, d.comingVersion()
	d.failure, d.lastOutput = state.Trouble{}, lastOutput{}
	if answers := d.servingVersion(); answers.binary == binary {
		if coming.binary != "" && coming.binary != binary {
			d.dropStarts()
		}
		d.newestGood = answers
		d.lastBuild = newest
		d.lastBuild.Number = answers.build
		attrs := []state.Attr{state.Int("serving", answers.build), state.Duration("took", newest.Took)}
		if newest.Trigger != "" {
			attrs = append(attrs, state.String("file", newest.Trigger))
		}
		switch {
		case failed.Kind != "":
			d.publishEvent(state.LevelInfo, "fixed: the newest version is serving", attrs...)
		case !a.change.stale:
			d.publishEvent(state.LevelInfo, "nothing changed", attrs...)
		}
		switch {
		case d.coming(): // it starts for another reason
		case d.retryReason != "":
			d.replace(d.retryReason, d.newestGood)
		case d.anyOutdated():
			d.replace(configuration, d.newestGood)
		}
		return
	}
	if coming.binary == binary && !d.startsOutdated() {
		d.newestGood, d.lastBuild = coming, newest
		d.lastBuild.Number = coming.build
		return
	}
	if a.change.stale && d.newestGood.binary == binary && (d.serves() || d.coming() || !d.nextTry().IsZero()) {
		d.failure, d.lastOutput = failed, last // its failure was published before
		return
	}
	if binary != d.newestGood.binary {
		d.buildNumber++
		d.lastBuild = newest
		d.newestGood = version{binary, d.buildNumber}
	}
	next := rollout{version: d.newestGood, reason: newBuild, change: a.change, buildTook: time.Duration(newest.Took), latency: e.latency}
	if d.cfg.worker.OnDemand() && !d.serves() && !d.coming() {
		d.sleep(next, state.Duration("build_took", newest.Took))
	} else {
		d.roll(next)
	}
}

// startsOutdated reports whether a worker starts with other settings than those
// in force.
func (d *decision) startsOutdated() bool {
	for _, s := range d.seats {
		if s.start.launched() && d.outdated(s.start.worker) {
			return true
		}
	}
	return false
}

// learn finds out how to build the page faster, while no build waits.
func (d *decision) learn() {
	d.lastID++
	d.learning = d.lastID
	d.do(learn{d.learning, d.dir})
}

// apply handles the end of learning.
func (e learned) apply(d *decision) {
	if d.learning == e.id {
		d.learning = 0
	}
	switch {
	case e.cancelled && e.err != nil, errors.Is(e.err, build.ErrNoGo), d.goal == closing:
	case e.err != nil:
		d.publishEvent(state.LevelWarn, "cannot record how the page was built", state.String("err", e.err.Error()))
	case !e.stale:
		d.staleBuilds = 0
	case d.building.id == 0 && d.goal != stopped: // or else one is under way that will tell of itself
		d.rebuildStale()
	}
}

// apply has the page built from another folder.
func (e moved) apply(d *decision) {
	d.dir, d.cfg = e.dir, e.cfg
	d.do(setLog{e.cfg.logFile})
	d.save(change{at: d.now.time})
}

// rebuildMissing has the page built again whose binary is gone, or was damaged and is
// gone now: cleaners of temporary files remove what was not used for long. If it
// cannot be built either, a request is refused at once.
func (d *decision) rebuildMissing(s start, why failure) {
	what := "the binary was deleted: rebuilding the page"
	if why == binaryDamaged {
		what = "the binary is damaged: rebuilding the page"
	}
	d.dropStarts()
	d.missingBinaries++
	pause := d.pause(0, d.missingBinaries)
	attrs := []state.Attr{state.Int("build", s.build), state.String("file", s.binary)}
	if pause == 0 {
		d.publishEvent(state.LevelWarn, what, attrs...)
		d.retryReason = s.reason
		d.build(change{at: d.now.time}, false)
		return
	}
	d.rebuildAt = time.Time{} // of a build that could not be made: one is enough
	d.retry = retry{at: d.in(pause), reason: s.reason, rebuild: true}
	d.publishEvent(state.LevelWarn, what, append(attrs, state.Duration("retry", pause))...)
}
