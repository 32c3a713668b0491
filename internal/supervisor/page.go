package supervisor

import (
	"context"
	"net/http"
	"time"

	"tqserver/internal/policy"
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

// lastOutput are the last of a worker that did not start.
type lastOutput struct {
	version
	text string
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

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
