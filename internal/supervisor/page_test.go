package supervisor

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tqserver/internal/state"
)

func TestAPageIsBuiltStartedAndServed(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(10 * time.Millisecond)
		s.wantPhase(state.Building)
		s.after(190 * time.Millisecond)
		s.wantPhase(state.Starting)
		s.after(5 * time.Millisecond)
		s.wantPhase(state.Serving)
		s.wantServing("v1")
	})
}

func TestASaveSwapsWhenTheNewWorkerIsReady(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		s.save("v2")
		s.after(204 * time.Millisecond)
		s.wantServing("v1")
		s.after(time.Millisecond)
		s.wantServing("v2")
		if old.stopCount() != 0 {
			t.Error("the old worker was stopped before its drain could begin")
		}
		s.after(time.Second)
		if old.stopCount() != 1 {
			t.Errorf("the old worker was stopped %d times", old.stopCount())
		}
	})
}

func TestASaveDuringAStartSupersedesIt(t *testing.T) {
	withPage(t, func(s *harness) { s.ready = time.Second }, func(s *harness) {
		s.after(300 * time.Millisecond) // v1 starts until 1200
		s.set(func() { s.ready = 5 * time.Millisecond })
		s.save("v2")
		s.after(300 * time.Millisecond)
		s.wantServing("v2")
		s.after(2 * time.Second)
		s.wantServing("v2")
		if c := s.allWorkers()[0]; c.stopCount() == 0 {
			t.Error("the worker that was superseded still runs")
		}
	})
}

func TestABrokenSaveDuringAStartLetsItGoOn(t *testing.T) {
	withPage(t, func(s *harness) { s.ready = time.Second }, func(s *harness) {
		s.after(300 * time.Millisecond)
		s.save("broken")
		s.after(time.Second)
		s.wantServing("v1")
		s.wantPhase(state.Failed)
	})
}

func TestAVersionThatDiesAtStartIsTriedOnceBesideAServingOne(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		s.set(func() { s.dies, s.ready = 3*time.Millisecond, -1 })
		s.save("v2")
		s.after(time.Minute)
		s.wantPhase(state.Failed)
		if s.wantServing("v1") != old || s.startCount() != 2 {
			t.Errorf("%d workers were started", s.startCount())
		}
		s.set(func() { s.dies, s.ready = -1, 5*time.Millisecond })
		s.save("v2")
		s.after(time.Second)
		s.wantServing("v2")
		s.wantPhase(state.Serving)
	})
}

func TestTheLastWordsOfWhatDidNotStartAreKeptWhileTheyMatter(t *testing.T) {
	mute := func(s *harness) {
		t.Helper()
		if got := s.state().Trouble.LastOutput; got != "" {
			t.Errorf("the page is %s and has %q", s.state().Phase, got)
		}
	}
	dies := func(s *harness, last string) {
		s.set(func() { s.dies, s.ready, s.prints = 3*time.Millisecond, -1, last })
	}
	lives := func(s *harness) { s.set(func() { s.dies, s.ready, s.prints = -1, 5*time.Millisecond, "" }) }
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		mute(s)
		dies(s, "one\ntwo\n")
		s.save("v2")
		s.after(time.Second)
		if p := s.state(); p.Trouble.LastOutput != "one\ntwo" || p.Trouble.Text == "" || p.ServingBuild != 1 {
			t.Errorf("beside the one that serves: %+v", p)
		}
		s.save("broken")
		s.after(time.Second)
		mute(s) // something else is wrong now
		dies(s, "three\n")
		s.save("v3")
		s.after(time.Second)
		lives(s)
		s.command(state.Restart)
		s.after(time.Second)
		s.wantServing("v3")
		mute(s)
	})
	withPage(t, func(s *harness) { s.dies, s.ready, s.prints = 3*time.Millisecond, -1, "first\n" }, func(s *harness) {
		s.after(time.Second)
		s.wantPhase(state.Crashed)
		if got := s.state().Trouble.LastOutput; got != "first" {
			t.Errorf("where nothing serves: %q", got)
		}
		dies(s, "")
		s.after(3 * time.Second)
		mute(s) // the newest said nothing
		dies(s, "again\n")
		s.after(10 * time.Second)
		lives(s)
		s.after(time.Minute)
		s.wantServing("v1")
		mute(s)
	})
}

func TestAPageTellsHowItsWorkersAreRun(t *testing.T) {
	t.Setenv("SITE_TOKEN", "s3cret")
	withPage(t, nil, func(s *harness) {
		s.after(202 * time.Millisecond)
		if p := s.state(); time.Duration(p.Swap) != 0 || len(p.Workers) != 1 || p.Workers[0].Binary != "/bin/v1" || p.Workers[0].Role != state.RoleStarting {
			t.Errorf("while it starts: %+v", p)
		}
		s.after(time.Second)
		p := s.state()
		if time.Duration(p.Swap) != 5*time.Millisecond || p.Log != "/logs/worker.log" || p.Workers[0].Binary != "/bin/v1" {
			t.Errorf("while it serves: %+v", p)
		}
		env := p.Workers[0].Env
		for _, want := range []string{"TQ_ROUTE=/", "TQ_LOG_FILE=/logs/worker.log", fmt.Sprint("TQ_PORT=", p.Workers[0].Port), "SITE_TOKEN=***"} {
			if !slices.Contains(env, want) {
				t.Errorf("no %s in %q", want, env)
			}
		}
		if !slices.IsSorted(env) || !slices.Contains(s.wantServing("v1").spec.Env, "SITE_TOKEN=s3cret") {
			t.Errorf("told %q of %q", env, s.wantServing("v1").spec.Env)
		}
		s.command(state.Stop)
		s.after(time.Second)
		if got := s.state().Swap; got != 0 {
			t.Errorf("nothing serves, since %v", got)
		}
	})
}

func TestAVersionThatNeverGetsReadyIsKilled(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.set(func() { s.ready = -1 })
		s.save("v2")
		s.after(20 * time.Second)
		s.wantPhase(state.Starting)
		s.wantServing("v1")
		s.after(11 * time.Second)
		s.wantPhase(state.Failed)
		s.wantServing("v1")
		if s.allWorkers()[1].stopCount() != 1 {
			t.Error("it still runs")
		}
	})
}

func TestAWorkerThatEndsIsStartedAgainAtOnce(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.wantServing("v1").end("signal: killed")
		s.after(6 * time.Millisecond)
		s.wantServing("v1")
		if s.startCount() != 2 || s.state().Restarts != 1 {
			t.Errorf("%d starts, %d restarts", s.startCount(), s.state().Restarts)
		}
	})
}

func TestACrashOfAnOlderVersionThatServesStartsThatAgain(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.set(func() { s.dies, s.ready = 3*time.Millisecond, -1 })
		s.save("v2")
		s.after(time.Second)
		s.set(func() { s.dies, s.ready = -1, 5*time.Millisecond })
		s.wantServing("v1").end("signal: killed")
		s.after(time.Second)
		s.wantServing("v1")
		s.save("broken")
		s.after(time.Second)
		s.wantServing("v1").end("signal: killed")
		s.after(time.Second)
		s.wantServing("v1")
	})
}

func TestACrashLoopIsPausedAndForgottenByASave(t *testing.T) {
	withPage(t, func(s *harness) { s.dies = time.Millisecond; s.ready = -1 }, func(s *harness) {
		s.after(5 * time.Minute)
		if n := s.startCount(); n < 12 || n > 25 {
			t.Errorf("%d starts in 5 minutes", n)
		}
		if n := len(s.messages()); n >= 200 {
			t.Errorf("%d log lines", n)
		}
		s.wantPhase(state.Crashed)
		s.set(func() { s.dies, s.ready = -1, time.Millisecond })
		s.save("v2")
		s.after(time.Second)
		s.wantServing("v2")
		s.wantServing("v2").end("exit status 1")
		s.after(2 * time.Millisecond) // at once again
		s.wantServing("v2")
	})
}

func TestAMinuteOfHealthForgetsCrashes(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		for range 4 {
			s.wantServing("v1").end("exit status 1")
			s.after(10 * time.Second)
		}
		if n := s.crashes(); n != 4 {
			t.Fatalf("%d crashes in a row", n)
		}
		s.after(time.Minute)
		s.wantServing("v1").end("exit status 1")
		s.after(6 * time.Millisecond)
		s.wantServing("v1")
	})
}

func TestACrashDuringADrainIsNoCrash(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		s.save("v2")
		s.after(206 * time.Millisecond)
		old.end("exit status 1")
		s.after(time.Second)
		s.wantServing("v2")
		if s.state().Restarts != 0 || s.startCount() != 2 {
			t.Errorf("%d restarts, %d starts", s.state().Restarts, s.startCount())
		}
	})
}

func TestACrashDuringAReplacementWaitsForIt(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.set(func() { s.ready = 100 * time.Millisecond })
		s.save("v2")
		s.after(250 * time.Millisecond)
		s.wantServing("v1").end("signal: killed")
		s.after(100 * time.Millisecond)
		s.wantServing("v2")
		if s.startCount() != 2 {
			t.Errorf("%d starts", s.startCount())
		}
	})
}

func TestLostHealthIsReplacedBeforeItIsStopped(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		s.set(func() { s.unhealthy = true })
		s.after(61 * time.Second)
		if s.wantServing("v1") != old {
			t.Fatal("it was replaced after two failures")
		}
		s.set(func() { s.unhealthy = true; s.ready = time.Second })
		s.after(28*time.Second + 500*time.Millisecond)
		if s.wantServing("v1") != old || old.stopCount() != 0 {
			t.Fatal("it was stopped before its replacement was ready")
		}
		s.set(func() { s.unhealthy = false })
		s.after(2 * time.Second)
		if s.wantServing("v1") == old || old.stopCount() != 1 {
			t.Error("it was not replaced")
		}
	})
}

func TestShutdownInEveryPhase(t *testing.T) {
	for phase, prepare := range map[state.Phase]func(*harness){
		state.Building: func(s *harness) { s.after(100 * time.Millisecond) },
		state.Starting: func(s *harness) { s.set(func() { s.ready = time.Hour }); s.after(300 * time.Millisecond) },
		state.Serving:  func(s *harness) { s.after(time.Second) },
		state.Failed:   func(s *harness) { s.set(func() { s.content = "broken" }); s.after(time.Second) },
		state.Crashed:  func(s *harness) { s.set(func() { s.dies, s.ready = 0, -1 }); s.after(20 * time.Second) },
		state.Stopped:  func(s *harness) { s.after(time.Second); s.command(state.Stop) },
		state.Waiting: func(s *harness) {
			for range 4 {
				port, _ := s.page.ports.acquire()
				s.page.ports.mu.Lock()
				delete(s.page.ports.used, port)
				s.page.ports.mu.Unlock()
			}
			s.after(time.Second)
		},
	} {
		t.Run(string(phase), func(t *testing.T) {
			withPage(t, nil, func(s *harness) {
				prepare(s)
				s.wantPhase(phase)
				began := time.Now()
				s.cancel()
				<-s.ended
				if took := time.Since(began); took > 600*time.Millisecond {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestARemovedPageIsNotPublishedAgain(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.page.send(removed{})
		s.cancel()
		<-s.ended
		if _, ok := s.page.store.Page("/"); ok {
			t.Error("it is still there")
		}
		s.wantMessage("worker stopped")
	})
}

func TestTheOldVersionReturnsIfItEndsWhileANewOneFailsToStart(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.set(func() { s.dies, s.ready = time.Second, -1 })
		s.save("v2")
		s.after(300 * time.Millisecond)
		s.set(func() { s.dies, s.ready = -1, 5*time.Millisecond })
		s.wantServing("v1").end("signal: killed")
		s.after(time.Minute)
		s.wantServing("v1")
		s.wantPhase(state.Failed)
	})
}

func TestTheVersionThatIsPutBackReturnsAfterAnotherSave(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.set(func() { s.dies, s.ready = time.Second, -1 })
		s.save("v2")
		s.after(300 * time.Millisecond)
		s.wantServing("v1").end("signal: killed")
		s.after(800 * time.Millisecond)
		s.set(func() { s.dies, s.ready = -1, time.Second })
		s.after(300 * time.Millisecond) // v1 starts
		s.set(func() { s.dies, s.ready = time.Second, -1 })
		s.save("v3")
		s.after(300 * time.Millisecond)
		s.set(func() { s.dies, s.ready = -1, time.Millisecond })
		s.after(time.Minute)
		s.wantServing("v1")
	})
}

func TestACrashedPageWhoseBuildMayHaveMissedASaveIsStartedAgain(t *testing.T) {
	withPage(t, func(s *harness) { s.stale = true; s.dies, s.ready = 0, -1 }, func(s *harness) {
		s.after(201 * time.Millisecond)
		s.set(func() { s.dies, s.ready = -1, 5*time.Millisecond })
		s.after(time.Minute)
		s.wantServing("v1")
	})
}

func TestAReplacementUnderWaySurvivesASaveThatChangesNothing(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		s.set(func() { s.ready = time.Second })
		if err := s.command(state.Restart); err != nil {
			t.Fatal(err)
		}
		s.after(100 * time.Millisecond)
		s.save("v1")
		s.after(time.Minute)
		if s.wantServing("v1") == old || s.startCount() != 2 {
			t.Errorf("the restart was forgotten, %d starts", s.startCount())
		}
	})
}

func TestShutdownDoesNotWaitForTheRestartDelay(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		cfg := s.settings()
		cfg.worker.RestartDelay = time.Hour
		s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
		s.save("v2")
		s.after(time.Second)
		began := time.Now()
		s.cancel()
		<-s.ended
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
