package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// actor runs a page. Its goroutine receives what happens, has [next] decide, and
// carries the effects out:
//
//	changes, requests, commands, results, time ──► next ──► effects
//	                              ▲                           │
//	                              └── background work ◄───────┘
//
// All fields below the channels belong to that goroutine. It never waits for
// anything else, and ends when everything it started has.
type actor struct {
	*deps
	entry *proxy.Route
	out   *output

	changed   chan change       // holds one: a hundred saves are one
	balanced  chan struct{}     // holds one: the route ejected a worker, or its breaker changed
	requested chan struct{}     // holds one: requests have begun to wait
	calls     chan func()       // from the supervisor
	results   chan func() event // of background work
	done      chan struct{}

	page           page
	backgroundCtx  context.Context // of background work: it ends with its work, not with the actor's context
	closeRequested <-chan struct{} // closed when the page is to end
	pendingResults int             // results still to come
	events         []event         // still to be decided about
	timer          *time.Timer     // of the next tick
	freed          <-chan struct{} // closed when a port is free again; nil if none is waited for
	serving        []id            // as the route has it
	waiting        map[id]func(replaced bool)
	lastWaiting    id
	replied        error

	cancelBuild    context.CancelFunc
	cancelLearning context.CancelFunc
	launches       map[id]*workerProcess
	processes      map[id]*workerProcess // that are ready, until they are reaped
	drains         map[id]context.CancelFunc
}

func newActor(d *deps, route, dir string, cfg settings) *actor {
	a := &actor{
		deps:      d,
		changed:   make(chan change, 1),
		requested: make(chan struct{}, 1),
		balanced:  make(chan struct{}, 1),
		calls:     make(chan func()),
		results:   make(chan func() event),
		done:      make(chan struct{}),
		page:      page{route: route, dir: dir, root: d.root, cfg: cfg, seats: make([]seat, cfg.worker.Seats())},
		timer:     stoppedTimer(),
		waiting:   make(map[id]func(bool)),
		launches:  make(map[id]*workerProcess),
		processes: make(map[id]*workerProcess),
		drains:    make(map[id]context.CancelFunc),
	}
	a.entry = &proxy.Route{Name: route, Demand: a.requested, Changed: a.balanced}
	a.entry.SetBalance(cfg.balance())
	a.out = newOutput(d, route, cfg.logFile)
	return a
}

// notifyChange notes a save. It never waits: a save that is not yet acted on stands for
// the next ones too.
func (a *actor) notifyChange(c change) {
	select {
	case a.changed <- c:
	default:
	}
}

// call has f called by the actor, waits for that, and reports whether there still
// is one.
func (a *actor) call(f func()) bool {
	done := make(chan struct{})
	select {
	case a.calls <- func() { defer close(done); f() }:
		<-done
		return true
	case <-a.done:
		return false
	}
}

// send has the actor decide about an event, waits for that, and reports whether
// there still is one.
func (a *actor) send(e event) bool { return a.call(func() { a.handle(e) }) }

// configure puts settings in force, and calls done when they are. The actor calls
// it.
func (a *actor) configure(cfg settings, rebuild bool, done func(replaced bool)) {
	a.entry.SetBalance(cfg.balance())
	a.lastWaiting++
	a.waiting[a.lastWaiting] = done
	a.handle(configured{a.lastWaiting, cfg, rebuild})
}

// command carries out a command, or says why not. The actor calls it.
func (a *actor) command(spec state.CommandSpec, seat int) error {
	a.handle(commanded{spec, seat})
	return a.replied
}

// run is the actor. It ends when ctx has and everything is cleaned up.
func (a *actor) run(ctx context.Context) {
	defer close(a.done)
	defer a.out.close()
	a.backgroundCtx, a.closeRequested = context.WithoutCancel(ctx), ctx.Done()
	a.handle(opened{})
	ended := a.closeRequested
	for a.page.goal != closing || a.pendingResults > 0 {
		select {
		case c := <-a.changed:
			a.handle(saved{c})
		case f := <-a.calls:
			f()
		case f := <-a.results:
			a.pendingResults--
			if f == nil {
				continue
			}
			if e := f(); e != nil {
				a.handle(e)
			}
		case <-a.freed:
			a.freed = nil
			a.handle(portFreed{})
		case <-a.timer.C:
			a.handle(tick{})
		case <-a.requested:
			a.handle(requested{})
		case <-a.balanced:
			a.handle(balanced{a.entry.Balancing()})
		case <-ended:
			ended = nil
			a.handle(shutDown{})
		}
	}
}

// handle decides about an event and what follows from it at once.
func (a *actor) handle(e event) {
	a.post(e)
	for len(a.events) > 0 {
		e := a.events[0]
		a.events = a.events[1:]
		var effects []effect
		a.page, effects = next(a.page, e, a.situation())
		for _, e := range effects {
			e.do(a)
		}
	}
	if at := a.page.wakeAt(); at.IsZero() {
		a.timer.Stop()
	} else {
		a.timer.Reset(time.Until(at))
	}
}

// post notes an event that an effect led to.
func (a *actor) post(e event) { a.events = append(a.events, e) }

// situation is what next is to know of the world.
func (a *actor) situation() situation {
	t := a.entry.Traffic()
	first, last := a.ports.bounds()
	return situation{
		firstPort: first, lastPort: last,
		time: time.Now(), development: a.development(), paused: a.paused.Load(), log: a.out.path(),
		held: a.entry.Held(), inFlight: t.InFlight, requests: t.Requests,
	}
}

// background runs work beside the actor. The function that work returns is called by
// the actor, and the event that comes of it happens; both may be nil.
func (a *actor) background(work func() (result func() event)) {
	a.pendingResults++
	go func() { // ends with work: the actor takes every result
		a.results <- work()
	}()
}

// untilSettled waits for the end of a change that does not build. It may be half of
// one: editors and shells empty a file before they write it.
func untilSettled(ctx context.Context, end time.Time) {
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

func isMissing(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, fs.ErrNotExist)
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
