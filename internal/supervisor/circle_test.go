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

// faults are what can go wrong with a page for ever without anybody doing
// anything. Workers are asked how they are once a second and replaced at once
// if they do not answer, so that nothing is slow but for the pauses.
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

// kicks are the one thing that happens from outside.
var kicks = map[string]func(s *harness){
	"the worker ends": func(s *harness) {
		if all := s.allWorkers(); len(all) > 0 {
			all[len(all)-1].end("signal: killed")
		}
	},
	"a save":    func(s *harness) { s.page.notifyChange(change{file: "/project/pages/index/main.go", at: time.Now()}) },
	"a restart": func(s *harness) { s.command(state.Restart) },
}

// What a page may do in five minutes by itself: as much as pauses allow that grow
// from nothing over 100 ms to 30 s, of each kind, and from then on one of each
// kind in 30 s.
const (
	fiveMinutes = 5 * time.Minute
	mostAtOnce  = 25
	mostLater   = 14
)

// A page to which nothing happens from outside may start and build again and
// again, but only with pauses that grow, whatever is wrong with it: every circle
// of its transitions passes one.
func TestEveryCircleHasAPauseThatGrows(t *testing.T) {
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
				for _, mode := range []string{"", "development", "on demand"} {
					walk(t, one, "none", kick, mode)
				}
			}
			for _, other := range names[i+1:] {
				walk(t, one, other, "the worker ends", "")
			}
		})
	}
}

func walk(t *testing.T, one, other, kick, mode string) {
	withPage(t, func(s *harness) { s.onDemand = mode == "on demand" }, func(s *harness) {
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
		s.request() // on demand it wakes the page
		s.after(time.Minute)
		s.save("v2") // so that there is one to go back to
		s.after(time.Second)
		s.set(func() { faults[one](s); faults[other](s) })
		kicks[kick](s)
		for n := range 3 {
			builds, starts, said := s.buildCount(), s.startTries(), s.eventCount()
			s.after(fiveMinutes)
			builds, starts, said = s.buildCount()-builds, s.startTries()-starts, s.eventCount()-said
			most, ports := mostLater, 0
			if n == 0 {
				most, ports = mostAtOnce, maxTakenPorts
			}
			if one != other && one != "none" && other != "none" {
				most, ports = 2*most, 2*ports // each has a circle
				if n == 0 && strings.HasPrefix(other, "workers write") {
					most *= 2 // until it is sure that it is not somebody who saves
				}
			}
			if builds > most || starts > most+ports || said > 8*most {
				t.Errorf("%s, %s, then %s (%s): in the %d. five minutes %d builds, %d starts, %d events", one, other, kick, mode, n+1, builds, starts, said)
				return
			}
		}
	})
}

// startTries is how many starts there were, of processes or not.
func (s *harness) startTries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.workers) + s.failedStarts
}

// eventCount is how often the page was published.
func (s *harness) eventCount() int {
	u, _ := s.page.store.Next(s.t.Context(), state.Cursor{Seq: state.Beginning})
	return int(u.Seq)
}
