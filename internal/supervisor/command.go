package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"tqserver/internal/policy"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// Do carries out a command that is about pages.
func (s *Supervisor) Do(ctx context.Context, cmd state.Command) error {
	var failed error
	err := s.call(ctx, func() { failed = s.do(cmd) })
	return errors.Join(err, failed)
}

func (s *Supervisor) do(cmd state.Command) error {
	switch cmd.Verb {
	case state.Pause, state.Resume:
		paused := cmd.Verb == state.Pause
		s.paused.Store(paused)
		message := "watching paused: saved changes are built when it resumes"
		if !paused {
			message = "watching resumed"
		}
		s.store.ChangeServer(state.Event{Message: message}, func(srv *state.Server) { srv.Paused = paused })
		if !paused && s.missedSaves.Swap(false) {
			s.Changed(nil)
		}
		return nil
	}
	if cmd.Page == "" {
		for _, p := range s.pages {
			p.call(func() {
				if cmd.Verb != state.Restart || p.asleep == nil { // one that sleeps starts anew anyway
					p.command(cmd.Verb)
				}
			})
		}
		return nil
	}
	p := s.pages[cmd.Page]
	if p == nil {
		return fmt.Errorf("there is no page %s", cmd.Page)
	}
	var err error
	if !p.call(func() { err = p.command(cmd.Verb) }) {
		err = fmt.Errorf("%s is being removed", cmd.Page)
	}
	return err
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
