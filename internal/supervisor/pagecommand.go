package supervisor

import (
	"fmt"

	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// apply puts settings in force, and says so when they are.
func (e configured) apply(d *decision) {
	old := d.cfg
	d.cfg = e.cfg
	d.do(setLog{e.cfg.logFile})
	d.resize()
	if d.goal == closing || d.goal == stopped {
		d.do(settle{e.who, false})
		return
	}
	for i := range d.seats {
		s := &d.seats[i]
		if s.serving.id == 0 {
			continue
		}
		d.limitRequests(s.serving)
		d.checkMemory(i)
		if d.cfg.worker.HealthInterval != old.worker.HealthInterval {
			s.healthAt = d.in(d.cfg.worker.HealthInterval)
		}
	}
	d.checkIdle()
	starting, serving := d.outOfForce()
	switch {
	case e.rebuild:
		d.save(change{at: d.now.time})
	case d.goal == asleep && d.building.id == 0 && !d.cfg.worker.OnDemand():
		d.wake()
	case starting, !d.launching() && serving:
		d.replace(configuration, d.currentVersion())
	case !d.serves() && !d.launching() && d.building.id == 0 && d.newestGood.binary != "" && !d.nextTry().IsZero():
		d.resetBackoff()
		d.replace(configuration, d.currentVersion()) // it may be what was wrong
	default:
		d.do(settle{e.who, false})
		return
	}
	d.waiting = append(d.waiting[:len(d.waiting):len(d.waiting)], e.who)
}

// outOfForce reports whether a worker that starts, or one that serves, has other
// settings than those in force.
func (d *decision) outOfForce() (starting, serving bool) {
	outdated := func(w worker) bool { return d.outdated(w) || w.port != 0 && !d.inRange(w.port) }
	for _, s := range d.seats {
		starting = starting || s.start.launched() && outdated(s.start.worker)
		serving = serving || s.serving.id != 0 && outdated(s.serving)
	}
	return starting, serving
}

// resize makes as many seats as there are instances. Those that are too many make
// their workers finish.
func (d *decision) resize() {
	n := d.cfg.worker.Seats()
	for i := n; i < len(d.seats); i++ {
		d.drop(i)
		d.retire(i, proxy.ServiceRestart, false)
	}
	for len(d.seats) < n {
		d.seats = append(d.seats, seat{})
		if i := len(d.seats) - 1; d.rollout.reason != "" && !d.rollout.rolling {
			d.startSeat(i, d.rollout.version, d.rollout.reason)
		}
	}
	d.seats = d.seats[:n]
}

// apply carries out a command, or says why not.
func (e commanded) apply(d *decision) {
	if d.goal == closing {
		d.do(reply{fmt.Errorf("%s is being removed", d.route)})
		return
	}
	if e.seat > len(d.seats) {
		d.do(reply{fmt.Errorf("%s has no worker %d: it has %d", d.route, e.seat, len(d.seats))})
		return
	}
	if e.seat > 0 {
		d.do(reply{d.restartWorker(e.spec, e.seat-1)})
		return
	}
	d.do(reply{pageCommands[e.spec.Verb](d, e.spec)})
}

// pageCommands carry out the commands of [state.ScopePage].
var pageCommands = map[state.Verb]func(*decision, state.CommandSpec) error{
	state.Start:   (*decision).startCommand,
	state.Stop:    func(d *decision, spec state.CommandSpec) error { return d.stop(spec, false) },
	state.Kill:    (*decision).killCommand,
	state.Restart: (*decision).restartCommand,
	state.Rebuild: (*decision).rebuildCommand,
}

// startCommand starts a page that does not run.
func (d *decision) startCommand(spec state.CommandSpec) error {
	c := change{at: d.now.time}
	switch {
	case d.goal == stopped:
		d.goal = run
		if d.again = &c; d.building.id == 0 { // or else it has been cancelled, and is not over yet
			d.build(c, false)
		}
	case d.goal == asleep && d.building.id == 0:
		d.wake()
	case !d.serves() && !d.launching() && d.building.id == 0:
		d.resetBackoff()
		d.build(c, false)
	default:
		return spec.CannotError(d.route)
	}
	return nil
}

// killCommand ends all workers at once, those that drain too.
func (d *decision) killCommand(spec state.CommandSpec) error {
	for _, w := range d.draining {
		d.do(cutDrain{w.id})
	}
	if d.goal == stopped && len(d.draining) > 0 {
		return nil
	}
	return d.stop(spec, true)
}

func (d *decision) restartCommand(spec state.CommandSpec) error {
	if d.goal == stopped {
		return spec.CannotError(d.route)
	}
	d.resetBackoff()
	if d.newestGood.binary == "" {
		return fmt.Errorf("%s has no working build to start", d.route)
	}
	d.roll(rollout{version: d.newestGood, reason: manualRestart, rolling: true})
	return nil
}

// restartWorker restarts the worker of a seat alone.
func (d *decision) restartWorker(spec state.CommandSpec, i int) error {
	switch {
	case d.goal == stopped:
		return spec.CannotError(d.route)
	case d.rollout.reason != "" || !d.serves():
		return d.restartCommand(spec) // its seat is on its way with the others
	}
	d.startSeat(i, d.lastServed, manualRestart)
	return nil
}

func (d *decision) rebuildCommand(spec state.CommandSpec) error {
	if d.goal == stopped {
		return spec.CannotError(d.route)
	}
	d.resetBackoff()
	c := change{at: d.now.time}
	if d.building.id == 0 {
		d.build(c, true)
		return nil
	}
	d.again = &c
	d.building.force = true
	d.do(cancelBuild{})
	return nil
}

// stop takes the page out of service until it is started again.
func (d *decision) stop(spec state.CommandSpec, atOnce bool) error {
	if d.goal == stopped {
		return spec.CannotError(d.route)
	}
	d.quit(stopped)
	if atOnce {
		for _, w := range d.draining {
			d.do(cutDrain{w.id})
		}
	}
	d.publishEvent(state.LevelInfo, "stopped")
	return nil
}
