package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"tqserver/internal/build"
	"tqserver/internal/policy"
	"tqserver/internal/state"
)

// change is a save.
type change struct {
	file  string // empty at start
	at    time.Time
	stale bool // nobody saved: the build before may have missed a save
	retry bool // nobody saved: what could not be done is tried again
}

// latency is the time from the file's change to our notice of it, if the file
// still tells.
func (c change) latency() time.Duration {
	info, err := os.Stat(c.file)
	if err != nil {
		return 0
	}
	if d := c.at.Sub(info.ModTime()); d > 0 && d < 10*time.Second {
		return d
	}
	return 0
}

type buildAttempt struct {
	change    change
	force     bool
	startedAt time.Time
	took      time.Duration // set when it has ended
	cancel    context.CancelFunc
}

// notifyChange tells the actor of a save. It never waits: a save that is not yet
// acted on stands for the next ones too.
func (p *page) notifyChange(c change) {
	select {
	case p.changed <- c:
	default:
	}
}

// handleChange acts on a change on disk.
func (p *page) handleChange(c change) {
	if p.closing {
		return
	}
	if p.stopped {
		p.dirty = true
		return
	}
	p.resetBackoff()
	starves := p.burst.starves(time.Now())
	if p.building != nil && !starves {
		p.building.cancel()
	}
	p.buildOrQueue(c)
}

// buildUnlessPaused has what nobody saved just now built. While saves are to wait,
// it waits with them, as it would build them too.
func (p *page) buildUnlessPaused(c change) {
	if p.paused.Load() {
		p.missedSaves.Store(true)
	} else {
		p.buildOrQueue(c)
	}
}

// buildOrQueue builds, or does so when the build has ended that runs.
func (p *page) buildOrQueue(c change) {
	if p.building == nil {
		p.startBuild(c, false)
	} else {
		p.nextChange = &c
	}
}

// startBuild begins a build. There is none.
func (p *page) startBuild(c change, force bool) {
	p.nextChange = nil
	p.buildTimer.Stop()
	if p.ownWrites.waiting {
		p.ownWrites.waiting, p.ownWrites.waited = false, true
	}
	p.ownWrites.stopped = false
	if p.cancelLearn != nil {
		p.cancelLearn()
	}
	ctx, cancel := context.WithCancel(p.backgroundCtx) // ended by the actor, at the latest in close
	a := &buildAttempt{change: c, force: force, startedAt: time.Now(), cancel: cancel}
	p.building = a
	if p.serving == nil && !c.retry {
		p.entry.Hold()
	}
	if c.file == "" && p.buildNumber == 0 {
		p.publishEvent(state.LevelInfo, "building") // the first can take long
	} else {
		p.publish()
	}
	dir, debounce := p.dir, p.cfg.debounce
	p.prioritizeBuild()
	p.background(func() func() {
		defer cancel()
		res, err := p.builder.Build(ctx, dir, force)
		a.took = time.Since(a.startedAt)
		if res.Binary == "" {
			waitUntil(ctx, c.at.Add(debounce))
		}
		if ctx.Err() != nil {
			err = ctx.Err() // cancelled, if only just and whatever came of it: a newer one follows
		}
		if err != nil && ctx.Err() == nil && isMissing(dir) {
			err = context.Canceled // the page went, which the supervisor sees to
		}
		return func() { p.buildEnded(a, res, err) }
	})
}

// prioritizeBuild has the build that runs go before others if people wait for it.
func (p *page) prioritizeBuild() {
	if p.entry.Held() > 0 {
		p.prioritize(p.dir)
	}
}

// waitUntil waits for the end of a change that does not build. It may be half of
// one: editors and shells empty a file before they write it.
func waitUntil(ctx context.Context, end time.Time) {
	left := time.Until(end)
	if left <= 0 {
		return
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func isMissing(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, fs.ErrNotExist)
}

// buildEnded is the end of a build.
func (p *page) buildEnded(a *buildAttempt, res build.Result, err error) {
	p.building = nil
	if p.closing || p.stopped {
		p.settle(false)
		return
	}
	if errors.Is(err, context.Canceled) {
		if p.nextChange != nil {
			p.startBuild(*p.nextChange, a.force)
		} else {
			p.publish()
		}
		return
	}
	p.lastSave = a.change
	if !res.Cached && !res.Stale {
		p.learn()
	}
	if err == nil {
		p.buildErrors = 0
	}
	number := p.buildNumber + 1
	attempt := state.Build{Number: number, Trigger: p.show(a.change.file), Started: a.startedAt, Took: a.took, Cached: res.Cached, Problems: res.Problems}
	switch {
	case err != nil:
		attempt.Problems = []state.Problem{{Message: err.Error()}}
		p.buildNumber, p.lastBuild = number, attempt
		p.buildFailed()
		if !errors.Is(err, build.ErrNoGo) { // a full disk has space again some day
			p.buildErrors++
			p.buildAfter(max(time.Second, pauseBefore(p.buildErrors)), change{file: a.change.file, at: a.change.at, stale: a.change.stale, retry: true})
		}
	case res.Binary == "":
		p.buildNumber, p.lastBuild = number, attempt
		p.buildFailed()
	case res.RolledBackTo != "" && !p.development():
		p.keepRolledBack(res.Binary, res.RolledBackTo, attempt)
	default:
		p.buildSucceeded(a, res.Binary, attempt)
	}
	if res.InputsErr != nil && !errors.Is(res.InputsErr, build.ErrNoGo) {
		p.publishEvent(state.LevelWarn, "cannot determine which files the page is built from", state.String("err", res.InputsErr.Error()))
	}
	switch {
	case p.building != nil:
	case p.nextChange != nil:
		p.startBuild(*p.nextChange, false)
	case res.Stale && err == nil:
		p.rebuildStale()
	}
	p.settle(false)
}

// rebuildStale builds once more what has changed while it was built, if nobody says
// so.
func (p *page) rebuildStale() {
	p.staleBuilds++
	p.buildAfter(pauseBefore(p.staleBuilds), change{at: time.Now(), stale: true})
}

func (p *page) buildFailed() {
	p.failure, p.lastOutput = "the newest build failed", lastOutput{}
	attrs := []state.Attr{state.Int("build", p.buildNumber), state.Duration("took", p.lastBuild.Took)}
	if p.lastBuild.Trigger != "" {
		attrs = append(attrs, state.String("file", p.lastBuild.Trigger))
	}
	if p.serving != nil {
		attrs = append(attrs, state.Int("serving", p.serving.build))
	}
	problems := make([]string, len(p.lastBuild.Problems))
	for i, problem := range p.lastBuild.Problems {
		problems[i] = problem.String()
	}
	attrs = append(attrs, state.String("err", strings.Join(problems, "\n")))
	p.publishEvent(state.LevelError, "build failed", attrs...)
	switch {
	case p.pendingStart() != nil:
	case p.serving != nil && p.serving.settings != p.cfg.worker:
		p.replace(configuration, p.serving.version)
	case p.serving != nil, p.asleep != nil:
	case !p.nextStart.IsZero() && p.missingBinaries == 0:
		p.entry.Refuse(keepsCrashing(p.nextStart))
	case !p.nextStart.IsZero():
		p.entry.Refuse(brokenPage)
	case p.lastServed.binary != "":
		p.replace(crash, p.lastServed) // it had ended by itself
	default:
		p.entry.Refuse(brokenPage)
	}
}

// buildAfter plans a build.
func (p *page) buildAfter(pause time.Duration, c change) {
	p.lastSave = c
	p.buildTimer.Reset(pause)
}

// cancelBuild gives up what is built, and what would be next.
func (p *page) cancelBuild() {
	if p.nextChange = nil; p.building != nil {
		p.building.cancel()
	}
}

var brokenPage = policy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is not available", Detail: "Its newest version does not build, and there is no older one."}

// buildSucceeded starts a binary, unless that is what serves or starts already.
func (p *page) buildSucceeded(a *buildAttempt, binary string, attempt state.Build) {
	failed, last, coming := p.failure, p.lastOutput, p.pendingStart()
	p.failure, p.lastOutput = "", lastOutput{}
	if answers := p.servingVersion(); answers.binary == binary {
		if coming != nil && coming.binary != binary {
			p.cancelStart()
			coming = nil
		}
		p.newestGood = answers
		p.lastBuild = attempt
		p.lastBuild.Number = answers.build
		attrs := []state.Attr{state.Int("serving", answers.build), state.Duration("took", attempt.Took)}
		if attempt.Trigger != "" {
			attrs = append(attrs, state.String("file", attempt.Trigger))
		}
		switch {
		case failed != "":
			p.publishEvent(state.LevelInfo, "fixed: the newest version is serving", attrs...)
		case a.change.stale:
			p.publish()
		default:
			p.publishEvent(state.LevelInfo, "nothing changed", attrs...)
		}
		switch {
		case coming != nil: // it was asked for otherwise
		case p.retryReason != "":
			p.replace(p.retryReason, p.newestGood)
		case p.serving != nil && p.isOutdated(p.serving):
			p.replace(configuration, p.newestGood)
		}
		return
	}
	if coming != nil && coming.binary == binary && (p.starting == nil || !p.isOutdated(&p.starting.worker)) {
		p.newestGood, p.lastBuild = coming.version, attempt
		p.lastBuild.Number = coming.build
		p.publish()
		return
	}
	if a.change.stale && p.newestGood.binary == binary && (p.serving != nil || coming != nil || !p.nextStart.IsZero()) {
		p.failure, p.lastOutput = failed, last // if it does not start, that was told
		p.publish()
		return
	}
	if binary != p.newestGood.binary {
		p.buildNumber++
		p.lastBuild = attempt
		p.newestGood = version{binary, p.buildNumber}
	}
	next := &startAttempt{worker: worker{version: p.newestGood}, reason: newBuild, change: a.change, buildTook: attempt.Took}
	if p.cfg.worker.OnDemand() && p.serving == nil && p.pendingStart() == nil {
		p.sleep(next, state.Duration("build_took", attempt.Took))
	} else {
		p.start(next)
	}
}

// servingVersion is the version that serves, or would if the page was asked for.
func (p *page) servingVersion() version {
	switch {
	case p.serving != nil:
		return p.serving.version
	case p.asleep != nil:
		return p.asleep.version
	}
	return version{}
}

// currentVersion is the version that serves or is about to.
func (p *page) currentVersion() version {
	switch {
	case p.pendingStart() != nil:
		return p.pendingStart().version
	case p.serving != nil:
		return p.serving.version
	}
	return p.newestGood
}

// learn finds out how to build the page faster, when nothing else is to do.
func (p *page) learn() {
	ctx, cancel := context.WithCancel(p.backgroundCtx) // ended by the next build, at the latest in close
	p.cancelLearn = cancel
	dir := p.dir
	p.background(func() func() {
		defer cancel()
		stale, err := p.builder.Optimize(ctx, dir)
		return func() {
			switch {
			case ctx.Err() == context.Canceled && err != nil, errors.Is(err, build.ErrNoGo), p.closing:
			case err != nil:
				p.publishEvent(state.LevelWarn, "cannot record how the page was built", state.String("err", err.Error()))
			case !stale:
				p.staleBuilds = 0
			case p.building == nil && !p.stopped: // or else one is under way that will tell of itself
				p.rebuildStale()
			}
		}
	})
}

// burst tells steady saving from a save now and then.
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
