package supervisor

import (
	"reflect"
	"slices"
	"time"

	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// page is all that is decided about a page. It is a value: [next] returns another
// one. The actor tells next what happened and carries out the effects.
type page struct {
	route string
	dir   string
	root  string // of the project
	cfg   settings

	goal     goal
	removed  bool   // from disk: the route may be another page's by now
	conflict string // why the route is contested

	pipeline
	seats     []seat
	rollout   rollout // a row of workers on its way; the zero value is none
	dormant   version // what the next request starts, while asleep
	retry     retry   // of a rollout or a build that could not start
	draining  []drainingWorker
	abandoned int // starts given up whose ports are not free yet
	lastID    id

	failure         state.Trouble // why the newest version cannot serve
	crashCause      state.Trouble // why none serves, as far as crashes say
	lastExit        state.Exit
	lastOutput      lastOutput
	restarts        int
	missingBinaries int // starts in a row whose binary was gone
	shortages       int // starts in a row that the system had no means for

	probation probation
	idle      idle
	assets    assets
	recheckAt time.Time // whether another program gave a port back

	waiting   []id // for the configuration to be in force
	traffic   routing
	breaker   state.Breaker
	published state.Page
}

// id names a worker, a build, or who waits for something. 0 is none.
type id int

// goal is what a page is to do.
type goal int

const (
	run    goal = iota
	asleep      // until the next request
	stopped
	closing // and never anything else again
)

// version is a binary and the number of the build it came of.
type version struct {
	binary string
	build  int
}

// lastOutput is what a worker that did not start, or crashed, printed last.
type lastOutput struct {
	version
	text string
}

// retry is what is tried again after a pause.
type retry struct {
	at      time.Time // zero for nothing
	reason  reason
	version version
	row     rollout // rather than a single worker
	rebuild bool    // rather than starting the version, which has no binary
}

// situation is the world outside the page when an event arrives.
type situation struct {
	time        time.Time
	development bool
	paused      bool   // saves are to wait
	log         string // the file that workers' output goes to
	firstPort   int    // of the range that ports are taken from
	lastPort    int
	held        int    // requests that wait for the page
	inFlight    int    // requests under way
	requests    uint64 // requests that have ended
}

// decision is a page in the middle of next.
type decision struct {
	page
	now      situation
	effects  []effect
	replaced bool // a worker began to serve
}

// next returns what becomes of a page when an event happens, and what is to be
// done about it, in this order. It has no other effects, and the same result for
// the same arguments.
func next(p page, e event, now situation) (page, []effect) {
	d := &decision{page: p, now: now}
	d.seats, d.draining = slices.Clone(p.seats), slices.Clone(p.draining)
	e.apply(d)
	d.finish()
	return d.page, d.effects
}

// finish does what follows from the state of the page, whatever the event was.
func (d *decision) finish() {
	if d.rollout.rolling && d.goal == run {
		d.rollOn()
	}
	if !d.rowComes() {
		d.rollout = rollout{}
	}
	d.replaceSpent()
	d.fillSeats()
	if d.goal == asleep && d.building.id == 0 && d.now.held > 0 {
		d.wake()
	}
	if d.building.id == 0 || d.replaced {
		if !d.coming() {
			for _, who := range d.waiting {
				d.do(settle{who, d.replaced})
			}
			d.waiting = nil
		}
	}
	if to := d.routing(); !reflect.DeepEqual(to, d.traffic) {
		d.effects = slices.Insert(d.effects, 0, effect(route{to}))
		d.traffic = to
	}
	d.publish()
}

// do adds an effect.
func (d *decision) do(e effect) { d.effects = append(d.effects, e) }

// wakeAt is when next is to be called with a tick, zero for never.
func (p *page) wakeAt() (at time.Time) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, t := range []time.Time{p.retry.at, p.rebuildAt, p.recheckAt, p.idle.at, p.assets.at} {
		sooner(t)
	}
	for _, s := range p.seats {
		for _, t := range []time.Time{s.retry.at, s.resetAt, s.healthAt, s.memoryAt} {
			sooner(t)
		}
	}
	return at
}

// apply does what is due.
func (tick) apply(d *decision) {
	if d.due(&d.retry.at) {
		d.tryAgain()
	}
	if d.due(&d.rebuildAt) {
		d.buildUnlessPaused(d.lastSave)
	}
	if d.due(&d.recheckAt) {
		d.claimPorts()
	}
	if d.due(&d.assets.at) {
		d.publishAssets()
	}
	if d.due(&d.idle.at) {
		d.checkIdle()
	}
	for i := range d.seats {
		s := &d.seats[i]
		if d.due(&s.retry.at) {
			d.tryAgainIn(i)
		}
		if d.due(&s.resetAt) {
			s.crashes = 0
		}
		if d.due(&s.healthAt) {
			d.checkHealth(i)
		}
		if d.due(&s.memoryAt) {
			d.checkMemory(i)
		}
	}
}

// due reports whether a time has come, and forgets it then.
func (d *decision) due(at *time.Time) bool {
	if at.IsZero() || d.now.time.Before(*at) {
		return false
	}
	*at = time.Time{}
	return true
}

// in is the time after a pause.
func (d *decision) in(pause time.Duration) time.Time { return d.now.time.Add(pause) }

// serves reports whether a worker serves.
func (p *page) serves() bool {
	return slices.ContainsFunc(p.seats, func(s seat) bool { return s.serving.id != 0 })
}

// coming reports whether a worker is on its way.
func (p *page) coming() bool {
	return slices.ContainsFunc(p.seats, func(s seat) bool { return s.start.id != 0 })
}

// comingVersion is the version of the worker that is on its way, of a row before
// others. The zero value is none.
func (p *page) comingVersion() version {
	if p.rollout.reason != "" {
		return p.rollout.version
	}
	for _, s := range p.seats {
		if s.start.id != 0 {
			return s.start.version
		}
	}
	return version{}
}

// servingVersion is the version that serves, or would if there was a request.
func (p *page) servingVersion() version {
	switch {
	case p.serves():
		return p.lastServed
	case p.goal == asleep:
		return p.dormant
	}
	return version{}
}

// currentVersion is the version that serves or is about to.
func (p *page) currentVersion() version {
	if v := p.comingVersion(); v.binary != "" {
		return v
	}
	if p.serves() {
		return p.lastServed
	}
	return p.newestGood
}

// nextTry is when something is tried again, zero for never.
func (p *page) nextTry() (at time.Time) {
	at = p.retry.at
	for _, s := range p.seats {
		if t := s.retry.at; !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

// resetBackoff forgets failures: somebody did something about them.
func (d *decision) resetBackoff() {
	d.missingBinaries, d.shortages, d.buildErrors, d.staleBuilds = 0, 0, 0, 0
	d.retry = retry{}
	for i := range d.seats {
		s := &d.seats[i]
		s.crashes, s.overMemory, s.takenPorts = 0, 0, 0
		s.retry = retry{}
	}
}

// close ends the page for good.
func (d *decision) close() {
	if d.goal == closing {
		return
	}
	d.quit(closing)
}

// quit gives up whatever is under way but for drains, and lets workers finish.
func (d *decision) quit(to goal) {
	d.goal = to
	d.resetBackoff()
	d.cancelBuild()
	d.cancelLearning()
	d.dropStarts()
	d.rebuildAt, d.assets.at, d.idle = time.Time{}, time.Time{}, idle{}
	for i := range d.seats {
		d.retire(i, proxy.GoingAway, false)
	}
}

func (shutDown) apply(d *decision) { d.close() }

// apply ends the page because it is not on disk any more. Nothing that is still
// to come of it is taken for the state of its route.
func (removed) apply(d *decision) {
	d.removed = true
	d.close()
	d.publishRemoved()
}

func (e conflicted) apply(d *decision) { d.conflict = e.why }

func (e noted) apply(d *decision) { d.publishEvent(e.level, e.message, e.attrs...) }
