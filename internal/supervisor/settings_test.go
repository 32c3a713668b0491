package supervisor

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/state"
)

// configure puts the settings in force that text, the content of a configuration
// file, gives the page, and returns how many workers were replaced for it.
func (s *harness) configure(text string) (replaced int) {
	s.t.Helper()
	cfg, err := config.Parse(filepath.Join(s.page.root, "server.yaml"), []byte(text))
	if err != nil {
		s.t.Fatal(err)
	}
	now := s.settings()
	now.worker = cfg.Worker("/")
	s.page.call(func() {
		s.page.configure(now, false, func(was bool) {
			if was {
				replaced++
			}
		})
	})
	s.after(2 * time.Second)
	return replaced
}

// TestOnlyWhatAWorkerIsStartedWithReplacesIt changes each option of workers, for
// all pages and by path.
func TestOnlyWhatAWorkerIsStartedWithReplacesIt(t *testing.T) {
	options := map[string]struct {
		value    string
		replaces bool
	}{
		"default.go_max_procs":           {"2", true},
		"default.read_timeout_seconds":   {"7", true},
		"default.write_timeout_seconds":  {"7", true},
		"default.idle_timeout_seconds":   {"7", true},
		"default.go_mem_limit":           {"7MiB", true},
		"default.log_file":               {"other.log", true},
		"default.max_requests":           {"7", false},
		"default.max_memory":             {"7MiB", false},
		"startup_delay_ms":               {"7", false},
		"restart_delay_ms":               {"7", false},
		"shutdown_grace_period_ms":       {"7", false},
		"drain_timeout_seconds":          {"7", false},
		"start_timeout_seconds":          {"7", false},
		"health_interval_seconds":        {"7", false},
		"health_failures":                {"7", false},
		"default.instances":              {"2", false},
		"rolling":                        {"true", false},
		"default.balance":                {"random_two", false},
		"default.eject_failures":         {"7", false},
		"default.eject_seconds":          {"7", false},
		"default.breaker_percent":        {"7", false},
		"default.breaker_min_requests":   {"7", false},
		"default.breaker_window_seconds": {"7", false},
		"default.breaker_open_seconds":   {"7", false},
		"start":                          {"on_demand", false},
		"idle_stop_seconds":              {"7", false},
	}
	fields := reflect.TypeFor[config.ProcessSettings]().NumField() + reflect.TypeFor[config.SupervisionSettings]().NumField()
	if fields--; fields != len(options) { // CookieKey is no option
		t.Errorf("%d options are changed, but workers have %d", len(options), fields)
	}
	for key, c := range options {
		section, name := "", key
		if len(key) > 8 && key[:8] == "default." {
			section, name = "default", key[8:]
		}
		forAll := "workers: {" + name + ": " + c.value + "}"
		if section != "" {
			forAll = "workers: {default: {" + name + ": " + c.value + "}}"
		}
		for kind, text := range map[string]string{"for all": forAll, "by path": "workers: {paths: {/: {" + name + ": " + c.value + "}}}"} {
			t.Run(key+" "+kind, func(t *testing.T) {
				withPage(t, nil, func(s *harness) {
					s.after(time.Second)
					old := s.wantServing("v1")
					replaced := s.configure(text)
					if kept := s.wantServing("v1") == old; kept == c.replaces || (replaced == 1) != c.replaces {
						t.Errorf("the worker was kept: %v; %d were replaced", kept, replaced)
					}
				})
			})
		}
	}
}

func TestMaxMemoryCountsForTheWorkerThatRuns(t *testing.T) {
	withPage(t, func(s *harness) { s.memory = 100 * mebibyte }, func(s *harness) {
		s.after(time.Minute)
		old := s.wantServing("v1")
		s.configure("workers: {default: {max_memory: 100MiB}}")
		s.after(time.Minute)
		if s.wantServing("v1") != old {
			t.Fatal("it was replaced with as much as it may take")
		}
		s.configure("workers: {default: {max_memory: 99MiB}}")
		if s.wantServing("v1") == old || s.countMessages("the worker uses more memory than max_memory: starting a replacement") == 0 {
			t.Error("it was not replaced")
		}
		s.configure("workers: {default: {max_memory: 100MiB}}")
		s.after(time.Minute)
		old = s.wantServing("v1")
		s.after(time.Hour)
		if s.wantServing("v1") != old {
			t.Error("it was replaced although the limit was raised")
		}
	})
}

func TestMaxRequestsCountForTheWorkerThatRuns(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		s.request()
		s.request()
		s.configure("workers: {default: {max_requests: 3}}")
		if s.wantServing("v1") != old {
			t.Fatal("it was replaced before its third request")
		}
		s.request()
		s.after(time.Second)
		second := s.wantServing("v1")
		if second == old {
			t.Fatal("it was not replaced at its third request")
		}
		s.request()
		s.request()
		s.configure("workers: {default: {max_requests: 2}}")
		if s.wantServing("v1") == second {
			t.Error("it was not replaced although it had as many requests already")
		}
	})
}

// A worker reports by ShouldShutdown that it ends soon, once it has had as many
// requests as TQ_MAX_REQUESTS says. So it must be replaced then.
func TestARaisedMaxRequestsCountsFromTheNextWorkerOn(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.configure("workers: {default: {max_requests: 2}}")
		s.request()
		s.request()
		s.after(time.Second)
		old := s.wantServing("v1") // with TQ_MAX_REQUESTS=2
		s.configure("workers: {default: {max_requests: 4}}")
		s.request()
		s.request()
		s.after(time.Second)
		next := s.wantServing("v1")
		if next == old {
			t.Fatal("the worker with TQ_MAX_REQUESTS=2 was not replaced")
		}
		s.request()
		s.request()
		s.request()
		s.after(time.Second)
		if s.wantServing("v1") != next {
			t.Fatal("the worker with TQ_MAX_REQUESTS=4 was replaced before")
		}
		s.request()
		s.after(time.Second)
		if s.wantServing("v1") == next {
			t.Error("the worker with TQ_MAX_REQUESTS=4 was not replaced")
		}
	})
}

func TestTheGracePeriodInForceCountsForTheWorkerThatRuns(t *testing.T) {
	withPage(t, func(s *harness) { s.ignoresTERM = true }, func(s *harness) {
		s.after(time.Second)
		s.configure("workers: {shutdown_grace_period_ms: 10000}")
		old := s.wantServing("v1")
		s.save("v2")
		s.after(5 * time.Second)
		s.wantServing("v2")
		select {
		case <-old.done:
			t.Error("it was killed before its time")
		default:
		}
		s.after(6 * time.Second)
		select {
		case <-old.done:
		default:
			t.Error("it was not killed in time")
		}
	})
}

func TestLogsOfAPageLieWhereItsFolderSays(t *testing.T) {
	for dir, want := range map[string]string{
		"/site/pages/shop/cart": "shop/cart",
		"/site/old/shop":        "shop", // pages.directory was changed, and it is about to go
	} {
		if got := logOf(config.LogFile{Root: "/site", Name: "logs/{path}/a.log"}, dir, "/site/pages"); got.Page != want {
			t.Errorf("%s: %+v", dir, got)
		}
	}
}

func TestSettingsThatReachAWorkerReplaceIt(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		var replaced []bool
		done := func(was bool) { replaced = append(replaced, was) }
		cfg := s.settings()
		s.page.call(func() { s.page.configure(cfg, false, done) })
		s.after(time.Second)
		if s.wantServing("v1") != old {
			t.Error("the same settings replaced it")
		}
		cfg.worker.GoMaxProcs = 7
		s.page.call(func() { s.page.configure(cfg, false, done) })
		s.after(time.Second)
		if s.wantServing("v1") == old {
			t.Error("other settings did not replace it")
		}
		if fmt.Sprint(replaced) != "[false true]" {
			t.Errorf("who waited was told %v", replaced)
		}
	})
}

func TestSettingsDuringAStartAreTheOnesThatServe(t *testing.T) {
	withPage(t, func(s *harness) { s.ready = 100 * time.Millisecond }, func(s *harness) {
		s.after(250 * time.Millisecond)
		cfg := s.settings()
		cfg.worker.GoMaxProcs = 7
		told := false
		s.page.call(func() { s.page.configure(cfg, false, func(bool) { told = true }) })
		s.after(time.Second)
		s.wantServing("v1")
		s.page.call(func() {
			if s.page.page.seats[0].serving.settings != cfg.worker || !told {
				t.Errorf("it serves with %+v, told %v", s.page.page.seats[0].serving.settings, told)
			}
		})
	})
}

func TestWhoWaitsForSettingsIsToldByAPageThatIsStopped(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		told := 0
		cfg := s.settings()
		s.page.call(func() { s.page.configure(cfg, true, func(bool) { told++ }) })
		s.after(100 * time.Millisecond)
		if err := s.command(state.Stop); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		if told != 1 {
			t.Errorf("it was told %d times", told)
		}
	})
}

func TestSettingsDoNotTakeAVersionAwayThatWaitsForAPort(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		for range 2 {
			port, _ := s.page.ports.acquire()
			defer s.page.ports.release(port)
		}
		cfg := s.settings()
		cfg.worker.RestartDelay = 5 * time.Second
		s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
		s.save("v2")
		s.after(time.Second)
		s.wantServing("v2")
		s.save("v3")
		s.after(time.Second)
		s.wantServing("v2")
		cfg.worker.GoMaxProcs = 7
		s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
		s.after(time.Minute)
		s.wantServing("v3")
	})
}

func TestSettingsReachAWorkerThoughTheNewestBuildFails(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		s.save("broken")
		s.after(time.Second)
		cfg := s.settings()
		cfg.worker.GoMaxProcs = 7
		s.page.call(func() { s.page.configure(cfg, true, func(bool) {}) })
		s.after(time.Minute)
		if s.wantServing("v1") == old {
			t.Error("it serves with the old settings")
		}
	})
}

func TestMaxRequestsDoNotTakeTheStartOfANewVersionAway(t *testing.T) {
	withPage(t, func(s *harness) {}, func(s *harness) {
		s.after(time.Second)
		cfg := s.settings()
		cfg.worker.MaxRequests = 2
		s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
		s.after(time.Second)
		s.request()
		s.set(func() { s.ready = 100 * time.Millisecond })
		s.save("v2")
		s.after(250 * time.Millisecond)
		s.request()
		s.after(time.Minute)
		s.wantServing("v2")
	})
}

func TestMaxRequestsAddOnlySoManyWorkersToThoseThatDrain(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		cfg := s.settings()
		cfg.worker.MaxRequests = 1
		s.page.call(func() {
			s.page.ports = newPorts(10_000, 10_100)
			s.page.ports.taken = func(int) bool { return false }
			s.page.configure(cfg, false, func(bool) {})
		})
		s.after(time.Second)
		draining := func() (n int) {
			s.page.call(func() { n = len(s.page.page.draining) })
			return n
		}
		s.set(func() { s.ignoresTERM = true })
		for range 3 * maxDraining {
			s.request()
			s.after(10 * time.Millisecond)
		}
		if n := draining(); n != maxDraining {
			t.Errorf("%d workers drain", n)
		}
		before := s.startCount()
		s.after(time.Minute)
		if n := draining(); n != 0 || s.startCount() != before+1 {
			t.Errorf("%d workers drain, %d were started after that", n, s.startCount()-before)
		}
	})
}

func TestMaxRequestsAreActedOnAfterAStartThatFailed(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		cfg := s.settings()
		cfg.worker.MaxRequests = 1
		s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
		s.after(time.Second)
		old := s.wantServing("v1")
		s.set(func() { s.dies, s.ready = 100*time.Millisecond, -1 })
		s.save("v2")
		s.after(250 * time.Millisecond)
		s.request()
		s.after(10 * time.Millisecond)
		s.set(func() { s.dies, s.ready = -1, 5*time.Millisecond })
		s.after(time.Minute)
		if s.wantServing("v1") == old {
			t.Error("the worker was not replaced")
		}
	})
}
