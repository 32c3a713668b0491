package supervisor

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tqserver/internal/state"
)

// action is something that happens to a page, and how much time passes then.
type action struct {
	name string
	n    int // which, how long, how many
	then time.Duration
}

var actions = rapid.Custom(func(t *rapid.T) action {
	return action{
		name: rapid.SampledFrom(slices.Sorted(func(yield func(string) bool) {
			for what := range perform {
				if !yield(what) {
					return
				}
			}
		})).Draw(t, "what"),
		n:    rapid.IntRange(0, 399).Draw(t, "n"),
		then: time.Duration(rapid.IntRange(0, 300).Draw(t, "then")) * time.Millisecond,
	}
})

// perform makes things happen.
var perform = map[string]func(s *harness, m *model, n int){
	"save":        func(s *harness, m *model, n int) { m.saved++; s.save(fmt.Sprint("v", m.saved)) },
	"save again":  func(s *harness, m *model, n int) { m.saved++; s.save(fmt.Sprint("v", m.saved)) }, // most of what happens
	"save old":    func(s *harness, m *model, n int) { s.save(fmt.Sprint("v", 1+n%m.saved)) },
	"save broken": func(s *harness, m *model, n int) { s.save("broken") },
	"disk full":   func(s *harness, m *model, n int) { s.save("disk full") },
	"stale":       func(s *harness, m *model, n int) { s.set(func() { s.stale = true }) },
	"slow start":  func(s *harness, m *model, n int) { s.set(func() { s.ready = time.Duration(n) * time.Millisecond }) },
	"dies":        func(s *harness, m *model, n int) { s.set(func() { s.dies = time.Duration(n-100) * time.Millisecond }) },
	"deaf":        func(s *harness, m *model, n int) { s.set(func() { s.ignoresTERM = n%2 == 0 }) },
	"lingers": func(s *harness, m *model, n int) {
		s.set(func() { s.cancelDelay = time.Duration(n/4) * time.Millisecond })
	},
	"kill": func(s *harness, m *model, n int) {
		if all := s.allWorkers(); len(all) > 0 {
			all[n%len(all)].end("signal: killed")
		}
	},
	"sick":       func(s *harness, m *model, n int) { s.set(func() { s.unhealthy = n%2 == 0 }) },
	"port taken": func(s *harness, m *model, n int) { s.set(func() { s.takenPorts[9000+n%3] = n%2 == 0 }) },
	"heavy":      func(s *harness, m *model, n int) { s.set(func() { s.memory = int64(n) * mebibyte }) },
	"restart":    func(s *harness, m *model, n int) { s.command(state.Restart) },
	"rebuild":    func(s *harness, m *model, n int) { s.command(state.Rebuild) },
	"stop":       func(s *harness, m *model, n int) { s.command([]state.Verb{state.Stop, state.Kill}[n%2]) },
	"start":      func(s *harness, m *model, n int) { s.command(state.Start) },
	"request":    func(s *harness, m *model, n int) { s.request() },
	"hour":       func(s *harness, m *model, n int) { s.after(time.Hour) },
	"configure": func(s *harness, m *model, n int) {
		cfg := s.settings()
		cfg.worker.MaxRequests = n % 3
		cfg.worker.MaxMemory = int64(n%2) * 200 * mebibyte
		cfg.worker.RestartDelay = time.Duration(n%3) * 200 * time.Millisecond
		cfg.worker.HealthInterval = time.Duration(1+n%30) * time.Second
		cfg.worker.Start = []string{"always", "always", "on_demand"}[n%3]
		s.page.call(func() { s.page.configure(cfg, n%5 == 0, func(bool) {}) })
	},
	"instances": func(s *harness, m *model, n int) {
		cfg := s.settings()
		cfg.worker.Instances = 1 + n%3
		cfg.worker.Rolling = n%5 == 0
		s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
	},
	"few ports": func(s *harness, m *model, n int) {
		cfg := s.settings()
		s.page.ports.setRange(9000, 9000+n%4)
		s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
	},
}

// model is what may be expected of a page whatever happens to it.
type model struct {
	saved   int         // versions so far
	newest  map[int]int // builds that served, by seat
	retreat int         // how often a build made way for the one before
}

// check compares a page, of which nothing moves at the moment, with the model.
func (m *model) check(s *harness, after string) {
	synctest.Wait()
	alive := 0
	for _, c := range s.allWorkers() {
		select {
		case <-c.done:
		default:
			alive++
		}
	}
	s.page.call(func() {
		serving := 0
		for _, w := range s.page.page.view("").Workers {
			if w.Role == state.RoleServing {
				serving++
			}
		}
		if most := len(s.page.page.seats); serving > most {
			s.t.Errorf("after %q %d of %d workers serve", after, serving, most)
		}
		for _, w := range s.page.page.draining {
			if s.page.page.servingIn(w.id) >= 0 {
				s.t.Errorf("after %q the worker that drains serves", after)
			}
		}
		if used := len(s.page.ports.used); used < alive {
			s.t.Errorf("after %q %d workers live on %d ports", after, alive, used)
		}
		retreat := s.countMessages(putBackSaid) + s.countMessages("the new worker did not start: starting the old build again")
		if retreat != m.retreat {
			clear(m.newest)
			m.retreat = retreat
		}
		for i, seat := range s.page.page.seats {
			w := seat.serving
			if w.id == 0 {
				continue
			}
			if w.build < m.newest[i] {
				s.t.Errorf("after %q build %d serves after build %d", after, w.build, m.newest[i])
			}
			m.newest[i] = w.build
		}
	})
}

// A page that all sorts of things happen to has at most one worker in each seat
// that serves, never serves in a seat what is older than what it served there
// before, and serves what was saved last when peace returns, with one process on
// one port for each seat. That nothing is
// left in the end, and that no two builds run at a time, is checked by the
// stage.
func TestAPageKeepsItsPromisesWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		play := rapid.SliceOfN(actions, 0, 60).Draw(rt, "play")
		onDemand, dev := rapid.Bool().Draw(rt, "on demand"), rapid.Bool().Draw(rt, "development")
		instances := rapid.IntRange(1, 3).Draw(rt, "instances")
		ok := t.Run("play", func(t *testing.T) {
			withPage(t, func(s *harness) { s.onDemand, s.instances = onDemand, instances }, func(s *harness) {
				s.page.dev.Store(dev)
				m := model{saved: 1, newest: make(map[int]int)}
				for _, h := range play {
					perform[h.name](s, &m, h.n)
					m.check(s, h.name)
					s.after(h.then)
					m.check(s, h.name)
				}
				m.peace(s)
			})
		})
		if !ok {
			rt.FailNow()
		}
	})
}

// peace lets a page come to rest.
func (m *model) peace(s *harness) {
	s.set(func() {
		s.dies, s.ready, s.takenPorts, s.unhealthy, s.ignoresTERM, s.memory = -1, 5*time.Millisecond, map[int]bool{}, false, false, 0
	})
	cfg := s.settings()
	cfg.worker.Start, cfg.worker.MaxRequests = "always", 0
	s.page.ports.setRange(9000, 9003)
	s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
	s.command(state.Start)
	s.after(time.Minute)
	s.save("last")
	s.after(2 * time.Minute)
	m.check(s, "peace")
	s.wantServing("last")
	s.wantPhase(state.Serving)
	for _, w := range s.state().Workers {
		if w.Binary != "/bin/last" || w.Role != state.RoleServing {
			s.t.Errorf("at peace a worker is %s of %s", w.Role, w.Binary)
		}
	}
	if used, want := len(s.page.ports.used), cfg.worker.Seats(); used != want {
		s.t.Errorf("at peace %d ports are used, not %d", used, want)
	}
}
