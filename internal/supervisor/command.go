package supervisor

import (
	"fmt"
	"net/http"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/policy"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// configure puts settings in force, and calls done when they are.
func (p *page) configure(cfg settings, rebuild bool, done func(replaced bool)) {
	old := p.cfg
	p.cfg = cfg
	p.out.setFile(cfg.logFile)
	if p.closing || p.stopped {
		done(false)
		return
	}
	p.applySettings(old.worker.SupervisionSettings)
	outdated := func(w *worker) bool {
		return p.isOutdated(w) || w.port != 0 && !p.ports.contains(w.port)
	}
	switch {
	case rebuild:
		p.onSettled = append(p.onSettled, done)
		p.handleChange(change{at: time.Now()})
	case p.asleep != nil && p.building == nil && !cfg.worker.OnDemand():
		p.onSettled = append(p.onSettled, done)
		p.start(p.asleep)
	case p.starting != nil && outdated(&p.starting.worker), p.starting == nil && p.serving != nil && outdated(p.serving):
		p.onSettled = append(p.onSettled, done)
		p.replace(configuration, p.currentVersion())
	case p.serving == nil && p.starting == nil && p.building == nil && p.newestGood.binary != "" && !p.nextStart.IsZero():
		p.onSettled = append(p.onSettled, done)
		p.resetBackoff()
		p.replace(configuration, p.currentVersion()) // it may be what was wrong
	default:
		done(false)
	}
}

// applySettings has what the server enforces apply to the worker that serves.
func (p *page) applySettings(old config.SupervisionSettings) {
	if p.serving != nil {
		p.serving.backend.LimitRequests(p.serving.requestLimit(p.cfg.worker.MaxRequests))
		if p.cfg.worker.HealthInterval != old.HealthInterval {
			p.healthTimer.Reset(p.cfg.worker.HealthInterval)
		}
	}
	p.checkIdle()
	p.checkMemory()
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

// settle tells who waits that what serves now stays.
func (p *page) settle(replaced bool) {
	if p.building != nil && !replaced || p.pendingStart() != nil {
		return
	}
	for _, done := range p.onSettled {
		done(replaced)
	}
	p.onSettled = nil
}

// command carries out what a front end asks, or says why not.
func (p *page) command(verb state.Verb) error {
	if p.closing {
		return fmt.Errorf("%s is being removed", p.route)
	}
	switch verb {
	case state.Start:
		switch {
		case p.stopped:
			p.stopped, p.dirty = false, false
			p.nextChange = &change{at: time.Now()}
			if p.building == nil { // or else it has been cancelled, and is not over yet
				p.startBuild(*p.nextChange, false)
			}
		case p.asleep != nil && p.building == nil:
			p.start(p.asleep)
		case p.serving == nil && p.starting == nil && p.building == nil:
			p.resetBackoff()
			p.startBuild(change{at: time.Now()}, false)
		default:
			return fmt.Errorf("%s is already started", p.route)
		}
		return nil
	case state.Kill:
		for w := range p.draining {
			w.kill()
		}
		if p.stopped && len(p.draining) > 0 {
			return nil
		}
		fallthrough
	case state.Stop:
		if p.stopped {
			return fmt.Errorf("%s is already stopped", p.route)
		}
		p.stop(verb == state.Kill)
		return nil
	}
	if p.stopped {
		return fmt.Errorf("%s is stopped: start it first", p.route)
	}
	p.resetBackoff()
	switch verb {
	case state.Restart:
		if p.newestGood.binary == "" {
			return fmt.Errorf("%s has no working build to start", p.route)
		}
		p.replace(manualRestart, p.newestGood)
	case state.Rebuild:
		c := change{at: time.Now()}
		if p.building == nil {
			p.startBuild(c, true)
		} else {
			p.nextChange = &c
			p.building.force = true
			p.building.cancel()
		}
	default:
		return fmt.Errorf("a page cannot %s", verb)
	}
	return nil
}

// stop takes the page out of service until it is started again.
func (p *page) stop(atOnce bool) {
	p.stopped = true
	p.cancelPending()
	p.entry.Refuse(policy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is stopped", Detail: "A user stopped it."})
	if w := p.serving; w != nil {
		p.serving = nil
		p.retire(w, proxy.GoingAway, false)
		if atOnce {
			w.kill()
		}
	}
	p.settle(false)
	p.publishEvent(state.LevelInfo, "stopped")
}
