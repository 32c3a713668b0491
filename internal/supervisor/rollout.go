package supervisor

import (
	"time"

	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// rollout is a row of workers, one for each seat, on their way to take the place
// of those that serve. The new ones begin to serve in one step, when all are
// ready. One that rolls has each begin to serve as soon as it is ready, and starts
// the next then; so does one that has not ports enough. If nothing serves, each
// begins to serve as soon as it is ready.
type rollout struct {
	id        id
	version   version
	reason    reason // empty: there is no rollout
	change    change // that is behind a new build
	buildTook time.Duration
	latency   time.Duration // from the change to our notice of it
	before    version       // that served until this one was on its way
	rolling   bool
	begun     bool // some of the row serve
}

// roll starts a row of workers, in place of one that is on its way.
func (d *decision) roll(r rollout) {
	if d.rollout.reason != "" && r.before.binary == "" {
		r.before = d.rollout.before
		if d.rollout.reason == rolledBack {
			r.before = d.rollout.version
		}
	}
	d.dropStarts()
	d.retryReason, d.retry = "", retry{}
	if d.goal == asleep {
		d.goal = run
	}
	d.lastID++
	r.id = d.lastID
	r.rolling = (r.rolling || d.cfg.worker.Rolling) && d.serves()
	d.rollout = r
	for i := range d.seats {
		d.seats[i].retry = retry{}
	}
	d.rollOn()
}

// rollOn starts the row, or the next worker of one that rolls.
func (d *decision) rollOn() {
	for i := range d.seats {
		s := &d.seats[i]
		if d.rollout.rolling && d.rowComes() {
			return
		}
		if s.start.id == 0 && s.retry.at.IsZero() && (s.serving.id == 0 || s.serving.row != d.rollout.id) {
			d.startSeat(i, d.rollout.version, d.rollout.reason)
		}
	}
}

// replace starts a row of a version.
func (d *decision) replace(why reason, v version) { d.roll(rollout{version: v, reason: why}) }

// olderServes reports whether a worker serves that the row is to take the place of.
func (d *decision) olderServes() bool {
	for _, s := range d.seats {
		if s.serving.id != 0 && s.serving.row != d.rollout.id {
			return true
		}
	}
	return false
}

// serveReady has those workers serve that are ready, and need not wait for the
// rest of their row.
func (d *decision) serveReady() {
	whole := true
	for _, s := range d.seats {
		whole = whole && (s.start.row == 0 || s.start.phase == ready)
	}
	together := d.rollout.reason != "" && !d.rollout.rolling && d.olderServes()
	var row []int
	for i := range d.seats {
		s := &d.seats[i].start
		if s.id != 0 && s.phase == ready && (s.row == 0 || !together || whole) {
			row = append(row, i)
		}
	}
	if len(row) > 0 {
		d.swap(row)
	}
}

// swap sends requests to the workers of some seats, and retires those before.
func (d *decision) swap(row []int) {
	first, last := d.seats[row[0]].start, d.seats[row[0]].start
	retired := false
	for _, i := range row {
		seat := &d.seats[i]
		s, old := seat.start, seat.serving
		if s.ready.After(last.ready) {
			last = s
		}
		w := s.worker
		w.swap, w.requests = d.now.time.Sub(w.startedAt), d.now.requests
		seat.start, seat.serving = start{}, w
		seat.takenPorts = 0
		seat.resetAt, seat.healthAt = d.in(resetAfter), d.in(d.cfg.worker.HealthInterval)
		d.checkMemory(i)
		if old.id != 0 {
			retired = true
			d.drain(old, proxy.ServiceRestart, false)
		}
	}
	d.replaced = true
	d.missingBinaries, d.shortages = 0, 0
	d.recordSwap(first)
	d.recordServing(first.version, first.reason)
	if first.version == d.newestGood && len(d.lastBuild.Problems) == 0 {
		d.failure, d.lastOutput = state.Trouble{}, lastOutput{}
	}
	if first.version == d.lastOutput.version {
		d.lastOutput = lastOutput{}
	}
	d.do(keep{d.dir, first.binary, d.previous.binary})
	d.applyAssets() // so that one change is published once
	d.checkIdle()
	switch joins := d.rollout.begun && !retired; {
	case !joins:
		d.publishSwap(first, last, len(row), retired)
	case !d.rowComes():
		d.publishEvent(state.LevelInfo, "all workers serve", state.Int("build", first.build), state.Int("workers", len(d.seats)))
	}
	d.rollout.begun = d.rollout.reason != ""
}

// rowComes reports whether workers of the row are still on their way.
func (d *decision) rowComes() bool {
	for _, s := range d.seats {
		if s.start.row != 0 {
			return true
		}
	}
	return false
}

// publishSwap says that workers serve.
func (d *decision) publishSwap(first, last start, workers int, swapped bool) {
	attrs := []state.Attr{state.Int("build", first.build)}
	if workers == 1 {
		attrs = append(attrs, state.Int("pid", first.pid), state.Int("port", first.port))
	} else {
		attrs = append(attrs, state.Int("workers", workers))
	}
	r := d.rollout
	if first.reason != newBuild {
		attrs = append(attrs, state.String("reason", string(first.reason)))
	} else {
		if r.change.file != "" {
			attrs = append(attrs, state.String("file", d.show(r.change.file)), state.Duration("detect", r.latency))
		}
		attrs = append(attrs, state.Duration("build_took", r.buildTook))
	}
	attrs = append(attrs, state.Duration("start", last.ready.Sub(first.startedAt)), state.Duration("swap", d.now.time.Sub(last.ready)))
	if first.reason == newBuild {
		attrs = append(attrs, state.Duration("took", d.now.time.Sub(r.change.at)))
	}
	message := "serving"
	if swapped {
		message = "swapped"
	}
	d.publishEvent(state.LevelInfo, message, attrs...)
}

// tryAgain is the end of a pause of the page.
func (d *decision) tryAgain() {
	again := d.retry
	d.retry = retry{}
	switch {
	case d.goal != run || d.building.id != 0 || d.coming():
	case again.rebuild:
		d.retryReason = again.reason
		d.build(change{at: d.now.time, again: true}, false)
	default:
		d.roll(again.row)
	}
}
