package supervisor

import (
	"fmt"
	"slices"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// seat is a place for one worker of a page.
//
//	empty ──► claiming ──► starting ──► ready ──► serving ──► empty, or the
//	  ▲          │  ▲          │          │          │        next in the seat
//	  │          ▼  │          ▼          ▼          ▼
//	  │        waiting     a pause that grows with every failure
//	  └────────────────────────┘
type seat struct {
	serving worker // the zero value is none
	start   start  // what is on its way to serve in its place, or in an empty seat
	retry   retry  // of a start

	crashes    int // in a row: workers that ended or lost their health
	overMemory int // replacements in a row for max_memory, of workers without requests
	takenPorts int // starts in a row whose port was taken
	ends       int // of workers while their version is on probation
	restarts   int // that nobody planned
	resetAt    time.Time
	healthAt   time.Time
	memoryAt   time.Time
}

// worker is a process of a page, as far as decisions go.
type worker struct {
	id id
	version
	seat         int // its index
	row          id  // of the rollout it came with; 0 for a worker that was started alone
	pid, port    int
	settings     config.WorkerSettings // in force when it was started
	project      folderID              // in which it runs
	startedAt    time.Time
	ready        time.Time
	swap         time.Duration // from startedAt to the first request it could get
	env          []string      // as it may be shown
	requests     uint64        // that the page had answered when it began to serve
	failedChecks int           // health checks failed in a row
	probing      bool
	measuring    bool
	spent        bool // it had max_requests

	ejectedUntil time.Time // it gets no requests until then
	trying       bool      // one request tries it
}

// start is a worker on its way to serving.
type start struct {
	worker
	phase      startPhase
	reason     reason
	hidden     time.Duration // from ready until it may serve, unless the page writes its own files
	portMissed bool          // the log has said that there is no port
}

// startPhase is how far a start is.
type startPhase int

const (
	claiming startPhase = iota // a port
	waiting                    // for one
	starting
	ready // for the rest of its row
)

// drainingWorker is a worker that finishes its requests.
type drainingWorker struct {
	worker
	keepPort bool // for a start of its own page
}

// maxTakenPorts is how many ports in a row may turn out to be taken before that
// counts as a crash, so that a page which takes no port at all ends up in a pause.
const maxTakenPorts = 20

// maxDraining bounds how many workers of a page still have requests under way
// when one is replaced for its age: with long streams and a small max_requests
// they would become hundreds.
const maxDraining = 8

// startSeat starts a worker in a seat, in place of one that is on its way there.
func (d *decision) startSeat(i int, v version, why reason) {
	s := start{reason: why}
	s.version = v
	if d.rollout.reason != "" {
		s.row = d.rollout.id
	}
	d.startAnew(i, s)
}

// startAnew starts a worker with what is known of s, with another process and port.
func (d *decision) startAnew(i int, s start) {
	d.drop(i)
	d.lastID++
	s.seat = i
	s.id, s.pid, s.port, s.phase, s.startedAt, s.hidden = d.lastID, 0, 0, claiming, d.now.time, 0
	d.seats[i].start, d.seats[i].retry = s, retry{}
	d.claimPort(i, 0)
}

// claimPort has a start ask for a port, or for one that the page kept.
func (d *decision) claimPort(i int, kept int) {
	s := &d.seats[i].start
	s.settings, s.project = d.cfg.worker, d.cfg.project
	d.do(claimPort{worker: s.worker, kept: kept, cfg: d.cfg})
}

// claimPorts has every start ask again that waits for a port.
func (d *decision) claimPorts() {
	for i := range d.seats {
		if s := &d.seats[i].start; s.id != 0 && s.phase == waiting {
			d.claimPort(i, 0)
		}
	}
}

// startOf is the seat of a start, -1 for one that is not wanted any more.
func (d *decision) startOf(worker id) int {
	return slices.IndexFunc(d.seats, func(s seat) bool { return s.start.id == worker })
}

// servingIn is the seat in which a worker serves, -1 for none.
func (p *page) servingIn(worker id) int {
	return slices.IndexFunc(p.seats, func(s seat) bool { return s.serving.id == worker })
}

// drop gives up the start in a seat.
func (d *decision) drop(i int) {
	s := &d.seats[i].start
	switch {
	case s.id == 0:
	case s.phase == starting:
		d.abandoned++
		d.do(abandon{s.id})
	case s.phase == ready:
		d.abandoned++
		d.do(discard{s.id, d.cfg.worker.ShutdownGracePeriod})
	}
	*s = start{}
}

// dropStarts gives up all starts.
func (d *decision) dropStarts() {
	for i := range d.seats {
		d.drop(i)
	}
	d.rollout = rollout{}
	d.recheckAt = time.Time{}
}

// apply starts the worker that has a port now.
func (e portClaimed) apply(d *decision) {
	i := d.startOf(e.worker)
	if i < 0 {
		d.do(releasePort{e.worker, e.port})
		return
	}
	s := &d.seats[i].start
	s.port, s.env, s.startedAt, s.phase = e.port, e.env, d.now.time, starting
	d.recordStart(s)
	d.do(launch{worker: s.worker, hidden: s.hidden})
}

// apply lets a start wait until there is a port again. A seat that serves, of a
// page with no port coming back, gives its own: slower, but never an error. One
// that the range does not hold any more would be lost for nothing.
func (e noPort) apply(d *decision) {
	i := d.startOf(e.worker)
	if i < 0 {
		return
	}
	seat := &d.seats[i]
	s := &seat.start
	s.phase = waiting
	if s.row != 0 && d.olderServes() {
		d.rollout.rolling = true
		d.serveReady()
	}
	if w := seat.serving; w.id != 0 && d.inRange(w.port) && len(d.draining) == 0 && d.abandoned == 0 && !d.launching() {
		if d.rollout.reason != "" {
			d.rollout.before = w.version
		}
		d.retire(i, proxy.ServiceRestart, true)
		d.publishEvent(state.LevelWarn, "no spare port: the old worker stops before the new one starts")
		return
	}
	d.recheckAt = d.in(portRecheck) // another program may give one back
	if !s.portMissed {
		s.portMissed = true
		d.publishEvent(state.LevelWarn, "waiting for a port", state.String("err", "every port from workers.port_range_start to port_range_end is in use: widen the range"))
	}
}

// launched reports whether a start has a port, and so a process or nearly one.
func (s start) launched() bool { return s.id != 0 && s.phase >= starting }

// launching reports whether a start is launched.
func (p *page) launching() bool {
	return slices.ContainsFunc(p.seats, func(s seat) bool { return s.start.launched() })
}

func (d *decision) inRange(port int) bool {
	return d.now.firstPort <= port && port <= d.now.lastPort
}

func (portFreed) apply(d *decision) { d.claimPorts() }

// outdated reports whether a worker was started with other settings than those
// in force, or in a folder that is not the project any more.
func (d *decision) outdated(w worker) bool {
	return w.settings.ProcessSettings != d.cfg.worker.ProcessSettings || d.cfg.project != (folderID{}) && w.project != d.cfg.project
}

// apply makes a ready worker serve, alone or with its row.
func (e started) apply(d *decision) {
	i := d.startOf(e.worker)
	if i < 0 {
		d.do(discard{e.worker, d.cfg.worker.ShutdownGracePeriod})
		return
	}
	s := &d.seats[i].start
	s.pid, s.ready, s.project, s.phase = e.pid, e.ready, e.project, ready
	d.limitRequests(s.worker)
	d.serveReady()
}

// apply counts a start that was given up and has ended.
func (discarded) apply(d *decision) { d.abandoned-- }

// apply decides what becomes of a page whose newest worker did not come up.
func (e startFailed) apply(d *decision) {
	i := d.startOf(e.worker)
	if i < 0 {
		d.abandoned--
		return
	}
	seat := &d.seats[i]
	s := seat.start
	seat.start = start{}
	switch {
	case e.why == portWasTaken && seat.takenPorts < maxTakenPorts:
		seat.takenPorts++
		d.startAnew(i, s)
		return
	case d.building.id == 0 && (e.why == binaryDamaged || e.why == binaryGone):
		d.rebuildMissing(s, e.why)
		return
	case e.why == noMeans:
		d.retryLater(i, s, e.cause)
		return
	}
	d.lastOutput, d.lastExit = lastOutput{version: s.version, text: e.output}, state.Exit{PID: e.pid, Cause: e.cause}
	attrs := []state.Attr{state.Int("build", s.build), state.String("reason", string(s.reason)), state.String("err", e.cause)}
	if e.output != "" {
		attrs = append(attrs, state.String("output", e.output))
	}
	switch before := d.rollout.before; {
	case s.row != 0 && d.olderServes() && !d.rollout.begun:
		d.dropStarts()
		d.keepsServing(s, e.cause, attrs)
	case seat.serving.id != 0:
		d.keepsServing(s, e.cause, attrs)
		if s.reason.insists() || d.rollout.begun {
			seat.crashes++
			seat.retry = retry{at: d.in(max(firstPause, d.pause(i, seat.crashes))), reason: s.reason, version: s.version}
		}
	case !d.serves() && before.binary != "" && before != s.version:
		d.failure = state.Trouble{Kind: state.TroubleStart, Text: fmt.Sprintf("build %d does not start: %s", s.build, e.cause)}
		d.publishEvent(state.LevelError, "the new worker did not start: starting the old build again", attrs...)
		d.roll(rollout{version: before, reason: rolledBack})
	default:
		d.planRestart(i, "the worker did not start", state.Trouble{Kind: state.TroubleStart, Text: "does not start: " + e.cause}, attrs, s.version)
	}
}

// retryLater tries a start again later that the system had no means for.
func (d *decision) retryLater(i int, s start, cause string) {
	d.shortages++
	pause := max(time.Second, d.pause(i, d.shortages))
	again := retry{at: d.in(pause), reason: s.reason, version: s.version, row: d.rollout}
	if s.row != 0 {
		d.dropStarts()
		d.retry = again
	} else {
		d.seats[i].retry = again
	}
	d.failure = state.Trouble{Kind: state.TroubleStart, Text: fmt.Sprintf("cannot start build %d now: %s", s.build, cause)}
	d.publishEvent(state.LevelWarn, "cannot start the worker now: trying again",
		state.Int("build", s.build), state.String("reason", string(s.reason)), state.String("err", cause), state.Duration("retry", pause))
}

// keepsServing says that a new worker did not start beside one that serves.
func (d *decision) keepsServing(s start, cause string, attrs []state.Attr) {
	d.failure = state.Trouble{Kind: state.TroubleStart, Text: fmt.Sprintf("build %d does not start: %s", s.build, cause)}
	d.publishEvent(state.LevelError, "the new worker did not start: the old one keeps serving", attrs...)
}

// apply handles the exit of a worker that was not asked to end.
func (e exited) apply(d *decision) {
	if i := d.startOf(e.worker); i >= 0 { // it was ready, and waited for its row
		d.do(lose{e.worker})
		startFailed{worker: e.worker, pid: e.pid, cause: "it exited before it served: " + e.cause, output: e.output}.apply(d)
		return
	}
	i := d.servingIn(e.worker)
	if i < 0 {
		return // its drain sees to it
	}
	seat := &d.seats[i]
	w := seat.serving
	seat.serving = worker{}
	seat.resetAt, seat.healthAt, seat.memoryAt = time.Time{}, time.Time{}, time.Time{}
	d.do(lose{w.id})
	d.restarts++
	seat.restarts++
	d.lastOutput, d.lastExit = lastOutput{version: w.version, text: e.output}, state.Exit{PID: w.pid, Cause: e.cause}
	d.do(inspect{w.version})
	attrs := []state.Attr{state.Int("build", w.build), state.Int("pid", w.pid), state.Int("port", w.port), state.String("err", e.cause)}
	if d.rollout.reason != "" && w.row != d.rollout.id || seat.start.id != 0 { // the next is on its way
		if d.rollout.reason != "" && !d.serves() {
			d.rollout.before = w.version
		}
		d.publishEvent(state.LevelError, "the worker exited", attrs...)
		return
	}
	d.planRestart(i, "the worker exited", state.Trouble{Kind: state.TroubleCrash, Text: "keeps crashing: " + e.cause}, attrs, w.version)
}

// planRestart plans the next start in a seat that is empty because a worker failed.
func (d *decision) planRestart(i int, what string, why state.Trouble, attrs []state.Attr, v version) {
	d.crashCause = why
	seat := &d.seats[i]
	if d.failsProbation(i, v) {
		if d.serves() {
			seat.crashes++ // should the version before not start either
		}
		d.rollBack(v, attrs)
		return
	}
	seat.crashes++
	pause := d.pause(i, seat.crashes)
	if pause == 0 {
		d.publishEvent(state.LevelError, what, attrs...)
		d.startSeat(i, v, crash)
		return
	}
	seat.retry = retry{at: d.in(pause), reason: crash, version: v}
	d.publishEvent(state.LevelError, what, append(attrs, state.Duration("retry", pause))...)
}

// tryAgainIn is the end of a pause in a seat.
func (d *decision) tryAgainIn(i int) {
	seat := &d.seats[i]
	again := seat.retry
	seat.retry = retry{}
	if d.goal == run && seat.start.id == 0 && d.rollout.reason == "" && (d.building.id == 0 || seat.serving.id == 0 && d.serves()) {
		d.startSeat(i, again.version, again.reason)
	}
}

// fillSeats starts workers in seats that are empty for no reason, beside others
// that serve.
func (d *decision) fillSeats() {
	if d.goal != run || d.rollout.reason != "" || !d.serves() {
		return
	}
	if !d.retry.at.IsZero() || d.building.id != 0 && d.retryReason != "" {
		return // there is no binary to start
	}
	for i := range d.seats {
		s := &d.seats[i]
		if s.serving.id != 0 || s.start.id != 0 || !s.retry.at.IsZero() {
			continue
		}
		if pause := d.pause(i, s.crashes); pause > 0 {
			s.retry = retry{at: d.in(pause), reason: crash, version: d.lastServed}
		} else {
			d.startSeat(i, d.lastServed, moreInstances)
		}
	}
}

// settled reports whether a worker serves in a seat, and no other is on its way or
// planned.
func (d *decision) settled(i int) bool {
	s := &d.seats[i]
	return d.goal == run && s.serving.id != 0 && s.retry.at.IsZero() && !d.coming() && d.retry.at.IsZero()
}

// canReplace reports whether a worker may be replaced for its age or size: its seat is
// settled, and not too many are on their way out.
func (d *decision) canReplace(i int) bool {
	return d.settled(i) && d.retryReason == "" && len(d.draining) < maxDraining
}

// limitRequests has it noticed when a worker has had its number of requests.
func (d *decision) limitRequests(w worker) {
	d.do(limitRequests{w.id, w.requestLimit(d.cfg.worker.MaxRequests)})
}

// requestLimit returns after how many requests the worker is replaced, 0 for
// never, if that many are configured. That is never more than TQ_MAX_REQUESTS at its
// start: a worker that has had so many says that it is ending (ShouldShutdown of
// pkg/worker), and must not go on for long.
func (w *worker) requestLimit(configured int) int {
	atStart := w.settings.MaxRequests
	if configured == 0 || atStart > 0 && atStart < configured {
		return atStart
	}
	return configured
}

// apply notes that a worker has had its number of requests.
func (e spent) apply(d *decision) {
	if i := d.servingIn(e.worker); i >= 0 {
		d.seats[i].serving.spent = true
	}
}

// replaceSpent replaces a worker that has had its number of requests, one at a
// time.
func (d *decision) replaceSpent() {
	for i := range d.seats {
		if w := d.seats[i].serving; w.spent && d.canReplace(i) {
			d.startSeat(i, w.version, maxRequests)
		}
	}
}

// retire lets the worker of a seat finish what it has, and stops it.
func (d *decision) retire(i int, why proxy.EndReason, keepPort bool) {
	seat := &d.seats[i]
	w := seat.serving
	if w.id == 0 {
		return
	}
	seat.serving = worker{}
	seat.resetAt, seat.healthAt, seat.memoryAt = time.Time{}, time.Time{}, time.Time{}
	d.drain(w, why, keepPort)
}

func (d *decision) drain(w worker, why proxy.EndReason, keepPort bool) {
	d.draining = append(d.draining, drainingWorker{w, keepPort})
	d.do(drain{worker: w.id, why: why, planned: why == proxy.ServiceRestart && !keepPort, keepPort: keepPort, cfg: d.cfg})
}

// apply handles the end of a drain.
func (e drained) apply(d *decision) {
	n := slices.IndexFunc(d.draining, func(w drainingWorker) bool { return w.id == e.worker })
	w := d.draining[n]
	d.draining = slices.Delete(d.draining, n, n+1)
	attrs := []state.Attr{state.Int("build", w.build), state.Int("pid", w.pid), state.Int("port", w.port)}
	level, message := state.LevelInfo, "worker stopped"
	if e.cut > 0 {
		level, message = state.LevelWarn, "worker stopped with requests under way"
		attrs = append(attrs, state.Int("cut", e.cut))
	}
	if w.keepPort {
		heir := slices.IndexFunc(d.seats, func(s seat) bool { return s.start.id != 0 && s.start.phase == waiting })
		kept := w.port
		if heir < 0 || !d.inRange(w.port) {
			d.do(releasePort{0, w.port})
			kept = 0
		}
		if heir >= 0 {
			d.claimPort(heir, kept) // without the port too: another may be free
		}
	}
	d.publishEvent(level, message, attrs...)
}
