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
	"tqserver/internal/config"
	"tqserver/internal/policy"
	"tqserver/internal/project"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// page is the actor of one page.
//
//	save ──► building ──► starting ──► serving ──► draining ──► gone
//	            │            │            │
//	            ▼            ▼            ▼ crash, again after a pause
//	          failed       failed      starting
//
// On demand a page whose build is good sleeps before it starts, until it is
// asked for, and again when nobody has asked for long (sleep.go).
//
// All fields below the channels belong to the actor's goroutine. What takes
// time runs in goroutines of its own (aside), whose results are functions that
// the actor calls; a result of something that was superseded finds that it is
// not the present attempt any more and only cleans up.
type page struct {
	*deps
	route string
	entry *proxy.Route
	out   *output

	changed chan change   // holds one: a hundred saves are one
	waiting chan struct{} // holds one: requests have begun to wait
	calls   chan func()   // what the supervisor asks
	results chan func()   // what came of what runs aside
	done    chan struct{}

	backgroundCtx  context.Context // of what runs aside: it ends with its work, not with the actor's context
	closeRequested <-chan struct{} // closed when the page is to end
	dir            string
	cfg            settings
	pendingResults int // results still to come
	stopped        bool
	dirty          bool // saved while stopped
	closing        bool
	removed        bool // from disk: the route may be another page's by now
	conflict       string

	buildNumber int           // of the newest build that counts
	lastBuild   state.Build   // the newest attempt
	lastSave    change        // what the newest build is about
	building    *buildAttempt // nil if none runs
	nextChange  *change       // build once more after this one
	cancelLearn context.CancelFunc
	burst       burst
	failure     string // why the newest version cannot serve
	crashCause  string // why none does, as far as crashes counts
	lastExit    state.Exit
	lastOutput  lastOutput

	newestGood      version // the newest good build
	lastServed      version // that serves, or served last
	previous        version // that served before it, unless it was put back for it
	probation       probation
	starting        *startAttempt
	retryReason     reason        // of a start whose binary was gone
	waitingForPort  *startAttempt // waits for a port
	asleep          *startAttempt // waits until it is asked for
	portFreed       <-chan struct{}
	reservedPort    int // a port kept for the next worker
	abandonedStarts int // workers that were given up before they served; their ports come back

	serving  *worker
	draining map[*worker]bool

	crashes         int // in a row, of workers that end or lose their health
	overMemory      int // replacements in a row for max_memory, of workers that nobody asked for anything
	missingBinaries int // starts in a row whose binary was gone
	shortages       int // starts in a row that the system had no means for
	takenPorts      int // starts in a row whose port was taken
	staleBuilds     int // builds in a row that had missed a save
	ownWrites       ownWrites
	restarts        int
	nextStart       time.Time
	retryTimer      *time.Timer // next start
	retryFunc       func()
	buildErrors     int         // builds in a row that could not be made
	buildTimer      *time.Timer // next of them; only while none runs
	healthyTimer    *time.Timer // a minute of health
	portTimer       *time.Timer // of ports
	assetTimer      *time.Timer // until touched files count
	healthTimer     *time.Timer
	probing         bool
	memoryTimer     *time.Timer // until it is looked what memory the worker takes
	idleTimer       *time.Timer // until it is looked whether anybody asks; on demand only
	idle            idlePeriod

	changedAssets []string // files that need no build and were not told of yet
	assetChanges  int      // how often there were some
	assetFiles    []string // the last of them

	onSettled []func(replaced bool) // who waits for a configuration to be in force
}

// change is a save.
type change struct {
	file  string // empty at start
	at    time.Time
	stale bool // nobody saved: the build before may have missed a save
	retry bool // nobody saved: what could not be done is tried again
}

// settings are what a page needs of the configuration.
type settings struct {
	worker  config.WorkerSettings
	project folderID // in which workers run; zero if it is not known
	logFile config.LogFile

	debounce time.Duration // changes that follow one another faster belong together
}

// lastOutput are the last of a worker that did not start.
type lastOutput struct {
	version
	text string
}

type buildAttempt struct {
	change    change
	force     bool
	startedAt time.Time
	took      time.Duration // set when it has ended
	cancel    context.CancelFunc
}

func newPage(h *deps, route, dir string, cfg settings) *page {
	p := &page{
		deps: h, route: route, dir: dir, cfg: cfg,
		changed:    make(chan change, 1),
		waiting:    make(chan struct{}, 1),
		calls:      make(chan func()),
		results:    make(chan func()),
		done:       make(chan struct{}),
		draining:   make(map[*worker]bool),
		retryTimer: stoppedTimer(), buildTimer: stoppedTimer(), healthyTimer: stoppedTimer(), portTimer: stoppedTimer(), healthTimer: stoppedTimer(), memoryTimer: stoppedTimer(), assetTimer: stoppedTimer(), idleTimer: stoppedTimer(),
	}
	p.entry = &proxy.Route{Name: route, Demand: p.waiting}
	p.out = newOutput(h, route, cfg.logFile)
	return p
}

// notifyChange tells the actor of a save. It never waits: a save that is not yet
// acted on stands for the next ones too.
func (p *page) notifyChange(c change) {
	select {
	case p.changed <- c:
	default:
	}
}

// call has f called by the actor, waits for that, and reports whether there
// still is one.
func (p *page) call(f func()) bool {
	done := make(chan struct{})
	select {
	case p.calls <- func() { defer close(done); f() }:
		<-done
		return true
	case <-p.done:
		return false
	}
}

// run is the actor. It ends when ctx has and everything is cleaned up.
func (p *page) run(ctx context.Context) {
	defer close(p.done)
	defer p.out.close()
	p.backgroundCtx, p.closeRequested = context.WithoutCancel(ctx), ctx.Done()
	p.startBuild(change{at: time.Now()}, false)
	ended := p.closeRequested
	for !p.closing || p.pendingResults > 0 {
		select {
		case c := <-p.changed:
			if !p.isOwnWrite(c) {
				p.handleChange(c)
			}
		case f := <-p.calls:
			f()
		case f := <-p.results:
			p.pendingResults--
			f()
		case <-p.exited():
			p.workerExited()
		case <-p.spent():
			p.replace(maxRequests, p.serving.version)
		case <-p.portFreed:
			p.retryPort()
		case <-p.portTimer.C:
			p.retryPort()
		case <-p.retryTimer.C:
			p.retry()
		case <-p.buildTimer.C:
			p.buildUnlessPaused(p.lastSave)
		case <-p.healthyTimer.C:
			p.crashes = 0
		case <-p.healthTimer.C:
			p.checkHealth()
		case <-p.memoryTimer.C:
			p.checkMemory()
		case <-p.assetTimer.C:
			p.publishAssets()
		case <-p.buildAwaited():
			p.prioritizeBuild()
		case <-p.wokenUp():
			p.start(p.asleep)
		case <-p.idleTimer.C:
			p.checkIdle()
		case <-ended:
			ended = nil
			p.close(shuttingDown)
		}
	}
}

// background runs work beside the actor, and what it returns in it.
func (p *page) background(work func() (result func())) {
	p.pendingResults++
	go func() { // ends with work: the actor takes every result
		p.results <- work()
	}()
}

// exited fires when the serving worker has ended.
func (p *page) exited() <-chan struct{} {
	if p.serving == nil {
		return nil
	}
	return p.serving.Done()
}

// spent fires when the serving worker has had its number of requests.
func (p *page) spent() <-chan struct{} {
	if !p.canReplace() {
		return nil
	}
	return p.serving.backend.Spent()
}

// maxDraining bounds how many workers of a page still have requests under way
// when one is replaced for its age: with long streams and a small max_requests
// they would become hundreds.
const maxDraining = 8

// canReplace reports whether a worker serves, no other is on its way or planned, and
// not too many are on their way out.
func (p *page) canReplace() bool {
	return p.serving != nil && p.pendingStart() == nil && p.retryReason == "" && p.nextStart.IsZero() && len(p.draining) < maxDraining
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

// resetBackoff forgets crashes: somebody did something about them.
func (p *page) resetBackoff() {
	p.crashes, p.overMemory, p.buildErrors, p.missingBinaries, p.shortages, p.takenPorts, p.staleBuilds = 0, 0, 0, 0, 0, 0, 0
	p.nextStart = time.Time{}
	p.retryTimer.Stop()
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

// move has the page built from another folder.
func (p *page) move(dir string, cfg settings) {
	p.dir, p.cfg = dir, cfg
	p.out.setFile(cfg.logFile)
	p.handleChange(change{at: time.Now()})
}

var (
	shuttingDown = policy.Refusal{Status: http.StatusServiceUnavailable, Title: "The server is shutting down", Detail: "Try again in a moment."}
	wasRemoved   = policy.Refusal{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no page here any more."}
)

// remove ends the page because it is not on disk any more. Nothing that is
// still to come of it is taken for the state of its route.
func (p *page) remove() {
	p.close(wasRemoved)
	s := p.state()
	p.store.Publish(state.Event{Message: "page removed", Attrs: []state.Attr{state.String("page", p.route)}, Page: &s, Removed: true})
	p.removed = true
}

// close ends the page for good.
func (p *page) close(refusal policy.Refusal) {
	if p.closing {
		return
	}
	p.closing = true
	p.cancelPending()
	p.entry.Refuse(refusal)
	if w := p.serving; w != nil {
		p.serving = nil
		p.retire(w, proxy.GoingAway, false)
	}
	p.settle(false)
}

// cancelPending gives up whatever is under way but for drains.
func (p *page) cancelPending() {
	p.resetBackoff()
	p.cancelBuild()
	if p.cancelLearn != nil {
		p.cancelLearn()
	}
	p.cancelStart()
	p.asleep = nil
	if p.reservedPort != 0 {
		p.ports.release(p.reservedPort)
		p.reservedPort = 0
	}
	for _, t := range []*time.Timer{p.buildTimer, p.healthyTimer, p.portTimer, p.healthTimer, p.memoryTimer, p.assetTimer, p.idleTimer} {
		t.Stop()
	}
}

// publishEvent publishes the page with a line for the log.
func (p *page) publishEvent(level state.Level, message string, attrs ...state.Attr) {
	p.entry.SetNewer(p.newestStatus())
	e := state.Event{Level: level, Message: message, Attrs: append([]state.Attr{state.String("page", p.route)}, attrs...)}
	if !p.removed {
		s := p.state()
		e.Page = &s
	}
	p.store.Publish(e)
}

// publish publishes the page.
func (p *page) publish() {
	p.entry.SetNewer(p.newestStatus())
	if !p.removed {
		s := p.state()
		p.store.Publish(state.Event{Page: &s})
	}
}

// state is what the world may see of the page.
func (p *page) state() state.Page {
	s := state.Page{
		Route: p.route, Dir: p.show(p.dir), Build: p.lastBuild, Restarts: p.restarts, Next: p.nextStart, Problem: p.failure, LastOutput: p.lastOutput.text, LastExit: p.lastExit, Log: p.show(p.out.path()),
		AssetChanges: p.assetChanges, AssetFiles: p.assetFiles,
		Phase: phase(facts{
			stopped: p.stopped, building: p.building != nil, starting: p.starting != nil, portless: p.waitingForPort != nil,
			failed: p.failure != "", serving: p.serving != nil, asleep: p.asleep != nil, crashed: !p.nextStart.IsZero(),
		}),
	}
	if s.Problem == "" && p.serving == nil && p.crashes > 0 {
		s.Problem = p.crashCause
	}
	if p.conflict != "" {
		s.Problem = p.conflict
	}
	if a := p.building; a != nil {
		s.Build = state.Build{Number: p.buildNumber + 1, Trigger: p.show(a.change.file), Started: a.startedAt}
	}
	if a := p.starting; a != nil {
		s.Workers = append(s.Workers, a.worker.state(state.RoleStarting))
		if a.reason == onDemand {
			s.ServingBuild = a.build // as while it slept
		}
	}
	if p.asleep != nil {
		s.ServingBuild = p.asleep.build
	}
	if w := p.serving; w != nil {
		s.ServingBuild, s.Swap = w.build, w.swapTook
		s.Workers = append(s.Workers, w.state(state.RoleServing))
	}
	for w := range p.draining {
		s.Workers = append(s.Workers, w.state(state.RoleDraining))
	}
	return s
}

func (p *page) show(path string) string { return project.Show(p.root, path) }

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
