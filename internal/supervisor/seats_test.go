package supervisor

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// row returns the binaries of the workers that serve, by seat; an empty seat is
// left out.
func (s *harness) row() (binaries []string) {
	for _, w := range s.state().Workers {
		if w.Role == state.RoleServing {
			binaries = append(binaries, w.Binary)
		}
	}
	return binaries
}

func (s *harness) wantRow(want ...string) {
	s.t.Helper()
	if got := s.row(); !slices.Equal(got, want) {
		s.t.Fatalf("%v serve, not %v", got, want)
	}
}

// pids returns the processes that serve.
func (s *harness) pids() (pids []int) {
	for _, w := range s.state().Workers {
		if w.Role == state.RoleServing {
			pids = append(pids, w.PID)
		}
	}
	return pids
}

// setInstances has so many workers run.
func (s *harness) setInstances(n int, rolling bool) {
	cfg := s.settings()
	cfg.worker.Instances, cfg.worker.Rolling = n, rolling
	s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
	s.after(time.Second)
}

func three(s *harness) { s.instances, s.ports = 3, 8 }

func TestASaveSwapsAllWorkersInOneStep(t *testing.T) {
	withPage(t, three, func(s *harness) {
		s.after(time.Second)
		s.wantRow("/bin/v1", "/bin/v1", "/bin/v1")
		s.set(func() { s.ready = 50 * time.Millisecond })
		s.save("v2")
		for range 400 {
			if row := s.row(); len(row) != 3 || row[0] != row[1] || row[1] != row[2] {
				t.Fatalf("%v serve", row)
			}
			s.after(time.Millisecond)
		}
		s.wantRow("/bin/v2", "/bin/v2", "/bin/v2")
		if n := s.countMessages("swapped"); n != 1 {
			t.Errorf("the swap was published %d times", n)
		}
	})
}

func TestARowOfWhichOneDoesNotStartChangesNothing(t *testing.T) {
	withPage(t, three, func(s *harness) {
		s.after(time.Second)
		before := s.pids()
		s.set(func() { s.failFrom = len(s.workers) + 2 })
		s.save("v2")
		s.after(5 * time.Second)
		s.wantRow("/bin/v1", "/bin/v1", "/bin/v1")
		if !slices.Equal(s.pids(), before) {
			t.Errorf("%v serve, not %v", s.pids(), before)
		}
		s.wantPhase(state.Failed)
		if n := s.countMessages("the new worker did not start: the old one keeps serving"); n != 1 {
			t.Errorf("that was published %d times", n)
		}
		s.set(func() { s.failFrom = 0 })
		s.save("v3")
		s.after(time.Second)
		s.wantRow("/bin/v3", "/bin/v3", "/bin/v3")
	})
}

func TestAWorkerThatCrashesIsOneOfMany(t *testing.T) {
	withPage(t, three, func(s *harness) {
		s.after(time.Second)
		before := s.pids()
		s.allWorkers()[before[1]-100].end("signal: killed")
		s.after(time.Second)
		s.wantRow("/bin/v1", "/bin/v1", "/bin/v1")
		if now := s.pids(); now[0] != before[0] || now[1] == before[1] || now[2] != before[2] {
			t.Errorf("%v serve after %v", now, before)
		}
		s.set(func() { s.dies = 0 }) // what starts from now on
		s.allWorkers()[before[0]-100].end("signal: killed")
		for range 100 {
			s.after(100 * time.Millisecond)
			s.wantRow("/bin/v1", "/bin/v1")
			s.page.call(func() {
				if to := s.page.page.routing().serving; len(to) != 2 {
					t.Errorf("requests go to %v", to)
				}
			})
		}
		s.set(func() { s.dies = -1 })
		s.after(time.Minute)
		s.wantRow("/bin/v1", "/bin/v1", "/bin/v1")
	})
}

func TestInstancesChangeByTheDifference(t *testing.T) {
	withPage(t, func(s *harness) { s.ports = 8 }, func(s *harness) {
		s.after(time.Second)
		one := s.pids()
		s.setInstances(4, false)
		four := s.pids()
		if len(four) != 4 || four[0] != one[0] {
			t.Fatalf("%v serve after %v", four, one)
		}
		s.setInstances(2, false)
		if two := s.pids(); !slices.Equal(two, four[:2]) {
			t.Fatalf("%v serve after %v", two, four)
		}
		if n := s.countMessages("waiting for a port"); n != 0 {
			t.Errorf("%d times no port was free", n)
		}
	})
}

func TestWithTooFewPortsWorkersAreReplacedOneAfterAnother(t *testing.T) {
	for ports := 3; ports <= 5; ports++ {
		t.Run(fmt.Sprint(ports), func(t *testing.T) {
			withPage(t, func(s *harness) { s.instances, s.ports = 3, ports }, func(s *harness) {
				s.after(time.Second)
				s.wantRow("/bin/v1", "/bin/v1", "/bin/v1")
				s.save("v2")
				least := 3
				for range 300 {
					s.after(10 * time.Millisecond)
					least = min(least, len(s.row()))
				}
				s.wantRow("/bin/v2", "/bin/v2", "/bin/v2")
				if want := min(3, ports-1); least < want {
					t.Errorf("only %d served", least)
				}
			})
		})
	}
}

func TestRollingReplacesOneWorkerAfterAnother(t *testing.T) {
	withPage(t, three, func(s *harness) {
		s.after(time.Second)
		s.setInstances(3, true)
		s.set(func() { s.ready = 100 * time.Millisecond })
		s.save("v2")
		s.after(250 * time.Millisecond) // 200 of them for the build
		s.wantRow("/bin/v1", "/bin/v1", "/bin/v1")
		s.after(100 * time.Millisecond)
		s.wantRow("/bin/v2", "/bin/v1", "/bin/v1")
		s.after(100 * time.Millisecond)
		s.wantRow("/bin/v2", "/bin/v2", "/bin/v1")
		s.after(100 * time.Millisecond)
		s.wantRow("/bin/v2", "/bin/v2", "/bin/v2")
	})
}

func TestARestartReplacesOneWorkerAfterAnother(t *testing.T) {
	withPage(t, three, func(s *harness) {
		s.after(time.Second)
		before := s.pids()
		s.set(func() { s.ready = 100 * time.Millisecond })
		s.command(state.Restart)
		s.after(150 * time.Millisecond)
		if now := s.pids(); now[0] == before[0] || now[1] != before[1] || now[2] != before[2] {
			t.Fatalf("%v serve after %v", now, before)
		}
		s.after(time.Second)
		for i, pid := range s.pids() {
			if pid == before[i] {
				t.Errorf("worker %d was not restarted", i+1)
			}
		}
		before = s.pids()
		restart, _ := state.Command{Verb: state.Restart, Page: "/", Seat: 2}.Spec()
		s.page.call(func() { s.page.command(restart, 2) })
		s.after(time.Second)
		if now := s.pids(); now[0] != before[0] || now[1] == before[1] || now[2] != before[2] {
			t.Errorf("%v serve after %v", now, before)
		}
		var err error
		s.page.call(func() { err = s.page.command(restart, 4) })
		if err == nil {
			t.Error("a worker was restarted that does not exist")
		}
	})
}

func TestWorkersAreReplacedOneAtATimeForTheirAge(t *testing.T) {
	withPage(t, three, func(s *harness) {
		s.after(time.Second)
		cfg := s.settings()
		cfg.worker.HealthInterval, cfg.worker.HealthFailures = time.Second, 1
		s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
		s.set(func() { s.ready, s.unhealthy = 300*time.Millisecond, true })
		for range 500 {
			s.after(10 * time.Millisecond)
			starting := 0
			for _, w := range s.state().Workers {
				if w.Role == state.RoleStarting {
					starting++
				}
			}
			if starting > 1 || len(s.row()) != 3 {
				t.Fatalf("%d start, %v serve", starting, s.row())
			}
		}
		if n := s.countMessages("the worker is unhealthy: starting a replacement"); n < 3 {
			t.Errorf("%d were replaced", n)
		}
	})
}

func TestARollBackPutsTheWholeRowBack(t *testing.T) {
	withPage(t, three, func(s *harness) {
		s.after(time.Minute)
		s.save("v2")
		s.after(time.Second)
		s.wantRow("/bin/v2", "/bin/v2", "/bin/v2")
		for range probationEnds {
			for _, w := range s.allWorkers() {
				if w.spec.Path == "/bin/v2" && s.seatOf(w.pid) == 1 {
					w.end("exit status 2")
				}
			}
			s.after(time.Second)
		}
		s.wantRow("/bin/v1", "/bin/v1", "/bin/v1")
		s.wantMessage(putBackSaid)
	})
}

// seatOf is the seat in which a process serves, -1 for none.
func (s *harness) seatOf(pid int) (i int) {
	s.page.call(func() {
		i = slices.IndexFunc(s.page.page.seats, func(of seat) bool { return of.serving.pid == pid })
	})
	return i
}

func TestOnDemandTheFirstRequestStartsAll(t *testing.T) {
	withPage(t, func(s *harness) { three(s); s.onDemand = true }, func(s *harness) {
		s.after(time.Second)
		s.wantPhase(state.Asleep)
		s.request()
		s.after(time.Second)
		s.wantRow("/bin/v1", "/bin/v1", "/bin/v1")
	})
}

func TestEjectionsAndTheBreakerAreEvents(t *testing.T) {
	withPage(t, three, func(s *harness) {
		s.after(time.Second)
		until := time.Now().Add(10 * time.Second)
		ejected := proxy.Balancing{Backends: []proxy.BackendState{{Seat: 0}, {Seat: 1, EjectedUntil: until}, {Seat: 2}}, Breaker: proxy.BreakerOpen, BreakerUntil: until}
		s.page.send(balanced{ejected})
		s.wantMessage("the worker failed too many requests: others get them")
		s.wantMessage("too many requests fail: the breaker refuses all for a moment")
		if p := s.state(); !p.Workers[1].EjectedUntil.Equal(until) || !p.Workers[0].EjectedUntil.IsZero() || p.Breaker != state.BreakerOpen {
			t.Errorf("the page shows %+v", p)
		}
		ejected.Backends[1].Trying, ejected.Breaker = true, proxy.BreakerTrying
		s.page.send(balanced{ejected})
		if p := s.state(); !p.Workers[1].Trying || p.Breaker != state.BreakerTrying {
			t.Errorf("the page shows %+v", p)
		}
		s.page.send(balanced{proxy.Balancing{Backends: []proxy.BackendState{{Seat: 0}, {Seat: 1}, {Seat: 2}}}})
		s.wantMessage("the worker gets requests again")
		s.wantMessage("requests succeed again: the breaker is closed")
		if p := s.state(); !p.Workers[1].EjectedUntil.IsZero() || p.Workers[1].Trying || p.Breaker != "" {
			t.Errorf("the page shows %+v", p)
		}
	})
}
