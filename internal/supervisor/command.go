package supervisor

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// configure puts settings in force, and calls done when they are.
func (p *page) configure(cfg settings, rebuild bool, done func(replaced bool)) {
	old := p.cfg
	p.cfg = cfg
	p.out.open(cfg.logFile)
	if p.closing || p.stopped {
		done(false)
		return
	}
	if cfg.workers.HealthInterval != old.workers.HealthInterval && p.serving != nil {
		p.health.Reset(cfg.workers.HealthInterval)
	}
	p.lookIdle()
	outdated := func(w *worker) bool {
		return p.outdated(w) || w.port != 0 && !p.ports.contains(w.port)
	}
	switch {
	case rebuild:
		p.settled = append(p.settled, done)
		p.save(change{at: time.Now()})
	case p.asleep != nil && p.building == nil && !cfg.workers.OnDemand():
		p.settled = append(p.settled, done)
		p.start(p.asleep)
	case p.starting != nil && outdated(&p.starting.worker), p.starting == nil && p.serving != nil && outdated(p.serving):
		p.settled = append(p.settled, done)
		p.replace(configuration, p.current())
	case p.serving == nil && p.starting == nil && p.building == nil && p.good.binary != "" && !p.next.IsZero():
		p.settled = append(p.settled, done)
		p.calmDown()
		p.replace(configuration, p.current()) // it may be what was wrong
	default:
		done(false)
	}
}

// current is the version that serves or is about to.
func (p *page) current() version {
	switch {
	case p.coming() != nil:
		return p.coming().version
	case p.serving != nil:
		return p.serving.version
	}
	return p.good
}

// settle tells who waits that what serves now stays.
func (p *page) settle(replaced bool) {
	if p.building != nil && !replaced || p.coming() != nil {
		return
	}
	for _, done := range p.settled {
		done(replaced)
	}
	p.settled = nil
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
			p.again = &change{at: time.Now()}
			if p.building == nil { // or else it has been cancelled, and is not over yet
				p.build(*p.again, false)
			}
		case p.asleep != nil && p.building == nil:
			p.start(p.asleep)
		case p.serving == nil && p.starting == nil && p.building == nil:
			p.calmDown()
			p.build(change{at: time.Now()}, false)
		default:
			return fmt.Errorf("%s is already started", p.route)
		}
		return nil
	case state.Kill:
		for w := range p.draining {
			w.hurry()
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
	p.calmDown()
	switch verb {
	case state.Restart:
		if p.good.binary == "" {
			return fmt.Errorf("%s has no working build to start", p.route)
		}
		p.replace(asked, p.good)
	case state.Rebuild:
		c := change{at: time.Now()}
		if p.building == nil {
			p.build(c, true)
		} else {
			p.again = &c
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
	p.quiet()
	p.entry.Refuse(proxy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is stopped", Detail: "A user stopped it."})
	if w := p.serving; w != nil {
		p.serving = nil
		p.retire(w, proxy.GoingAway, false)
		if atOnce {
			w.hurry()
		}
	}
	p.settle(false)
	p.tell(slog.LevelInfo, "stopped")
}
