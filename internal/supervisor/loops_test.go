package supervisor

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tqserver/internal/state"
)

// faults are what can be wrong with a page for ever. Health is checked once a second,
// and an unhealthy worker is replaced at once, so that only pauses take time.
var faults = map[string]func(s *harness){
	"none":                                 func(s *harness) {},
	"the sources do not compile":           func(s *harness) { s.content = "broken" },
	"the disk is full":                     func(s *harness) { s.content = "disk full" },
	"there is no go command":               func(s *harness) { s.content = "no go" },
	"the binary is missing":                func(s *harness) { s.deleted, s.binariesVanish = true, true },
	"the binary was deleted":               func(s *harness) { s.deleted = true },
	"builds are stale":                     func(s *harness) { s.everStale = true },
	"builds differ":                        func(s *harness) { s.alwaysNew = true },
	"builds cannot be learned":             func(s *harness) { s.doubt = errors.New("go list: exit status 1") },
	"workers write an input":               func(s *harness) { s.writes = []string{"/project/pages/index/stamp.txt"} },
	"workers write other inputs each time": func(s *harness) { s.writes = []string{"/project/pages/index/data/%d.txt"} },
	"workers write an input late": func(s *harness) {
		s.writes, s.writesAt = []string{"/project/pages/index/stamp.txt"}, 400*time.Millisecond
	},
	"workers write many inputs": func(s *harness) {
		s.writes, s.writesAt = []string{"/project/pages/index/a.txt", "/project/pages/index/b.txt", "/project/pages/index/c.go"}, 150*time.Millisecond
	},

	"never ready":             func(s *harness) { s.ready = -1 },
	"dies before it is ready": func(s *harness) { s.ready, s.dies = -1, time.Millisecond },
	"dies when it is ready":   func(s *harness) { s.dies = 6 * time.Millisecond },
	"dies after seconds":      func(s *harness) { s.dies = 3 * time.Second },
	"health is lost":          func(s *harness) { s.unhealthy = true },
	"too large at once":       func(s *harness) { s.memory = 200 * mebibyte },
	"too large soon":          func(s *harness) { s.memory, s.memoryGrows = 200*mebibyte, true },
	"its port is taken":       func(s *harness) { s.takenPorts = map[int]bool{9000: true, 9001: true, 9002: true, 9003: true} },
	"no port is free":         func(s *harness) { s.noFreePort = true },
	"no descriptors":          func(s *harness) { s.startErr = syscall.EMFILE },
	"not allowed":             func(s *harness) { s.startErr = syscall.EACCES },
	"deaf":                    func(s *harness) { s.ignoresTERM = true },
}

// kicks are events from outside.
var kicks = map[string]func(s *harness){
	"the worker ends": func(s *harness) {
		if all := s.allWorkers(); len(all) > 0 {
			all[len(all)-1].end("signal: killed")
		}
	},
	"a save":    func(s *harness) { s.page.notifyChange(change{file: "/project/pages/index/main.go", at: time.Now()}) },
	"a restart": func(s *harness) { s.command(state.Restart) },
}

// What a page may do by itself in five minutes. At first that is as much as pauses allow
// that grow from nothing, over 100 ms, to 30 s, and later one try every 30 s, for each
// kind of try.
const (
	fiveMinutes = 5 * time.Minute
	mostAtOnce  = 25
	mostLater   = 14
)

// A page may build and start again and again without an event from outside, but only
// with pauses that grow, whatever is wrong with it: every loop of its transitions
// contains one.
func TestEveryLoopHasAPauseThatGrows(t *testing.T) {
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range faults {
			if !yield(name) {
				return
			}
		}
	})
	for i, one := range names {
		t.Run(strings.ReplaceAll(one, " ", "_"), func(t *testing.T) {
			t.Parallel()
			for kick := range kicks {
				for _, mode := range []string{"", "development", "on demand", "three workers"} {
					runLoop(t, one, "none", kick, mode)
				}
			}
			for _, other := range names[i+1:] {
				runLoop(t, one, other, "the worker ends", "")
			}
		})
	}
}

// runLoop runs a page with two faults and counts what it does.
func runLoop(t *testing.T, one, other, kick, mode string) {
	withPage(t, func(s *harness) {
		if s.onDemand = mode == "on demand"; mode == "three workers" {
			three(s)
		}
	}, func(s *harness) {
		s.page.dev.Store(mode == "development")
		cfg := s.settings()
		for _, fault := range []string{one, other} {
			switch fault {
			case "too large at once", "too large soon":
				cfg.worker.MaxMemory = 100 * mebibyte
			case "health is lost":
				cfg.worker.HealthInterval, cfg.worker.HealthFailures = time.Second, 1
			}
		}
		s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
		s.request() // wakes the page on demand
		s.after(time.Minute)
		s.save("v2") // so that there is a version to roll back to
		s.after(time.Second)
		s.set(func() { faults[one](s); faults[other](s) })
		kicks[kick](s)
		for n := range 3 {
			builds, starts, events := s.buildCount(), s.startTries(), s.eventCount()
			s.after(fiveMinutes)
			builds, starts, events = s.buildCount()-builds, s.startTries()-starts, s.eventCount()-events
			most, ports := mostLater, 0
			if n == 0 {
				most, ports = mostAtOnce, maxTakenPorts
			}
			if one != other && one != "none" && other != "none" {
				most, ports = 2*most, 2*ports // each has its own loop
				if n == 0 && strings.HasPrefix(other, "workers write") {
					most *= 2 // until the page knows that no person saves
				}
			}
			if mode == "three workers" {
				most, ports = 3*most, 3*ports
			}
			if builds > most || starts > most+ports || events > 8*most {
				t.Errorf("%s, %s, then %s (%s): in the %d. five minutes %d builds, %d starts, %d events", one, other, kick, mode, n+1, builds, starts, events)
				return
			}
		}
	})
}

// startTries returns how many starts were tried.
func (s *harness) startTries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.workers) + s.failedStarts
}

// eventCount returns how many events were published.
func (s *harness) eventCount() int {
	u, _ := s.page.store.Next(s.t.Context(), state.Cursor{Seq: state.Beginning})
	return int(u.Seq)
}
