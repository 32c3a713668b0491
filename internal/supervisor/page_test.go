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

func TestASaveDuringABuildStartsItAgain(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(100 * time.Millisecond)
		s.save("v2")
		s.after(150 * time.Millisecond) // the first build would be done
		s.wantPhase(state.Building)
		s.after(100 * time.Millisecond)
		s.wantServing("v2")
		if s.startCount() != 1 || s.buildCount() != 2 {
			t.Errorf("%d workers of %d builds were started", s.startCount(), s.buildCount())
		}
	})
}

func TestABuildThatIsUnderWayIsNotRepeatedBecauseTheOneBeforeWasStale(t *testing.T) {
	withPage(t, func(s *harness) { s.staleWhenLearnt, s.learnDelay = true, 100*time.Millisecond }, func(s *harness) {
		s.after(250 * time.Millisecond)
		s.save("v2")
		s.after(210 * time.Millisecond)
		s.wantServing("v2")
		if s.buildCount() != 2 || s.state().Build.Trigger == "" {
			t.Errorf("it took %d builds, the last because of %q", s.buildCount(), s.state().Build.Trigger)
		}
	})
}

func TestABuildThatAChangeOvertookIsRepeated(t *testing.T) {
	withPage(t, func(s *harness) { s.stale = true }, func(s *harness) {
		s.after(100 * time.Millisecond)
		s.set(func() { s.content = "v2" }) // and nobody says so
		s.after(110 * time.Millisecond)
		s.wantServing("v1")
		s.after(200 * time.Millisecond)
		s.wantServing("v2")
		s.after(time.Minute)
		if s.buildCount() != 2 {
			t.Errorf("there were %d builds", s.buildCount())
		}
	})
}

func TestWhatEachBuildOvertakesIsNotBuiltWithoutAPause(t *testing.T) {
	withPage(t, func(s *harness) { s.everStale = true }, func(s *harness) {
		s.after(5 * time.Minute)
		if n := s.buildCount(); n < 5 || n > 25 {
			t.Errorf("in five minutes there were %d builds", n)
		}
		s.set(func() { s.everStale = false })
		s.after(time.Minute)
		n := s.buildCount()
		s.after(time.Hour)
		if s.buildCount() != n {
			t.Error("it is still built")
		}
	})
}

func TestABuildIsToldThatPeopleWait(t *testing.T) {
	withPage(t, func(s *harness) { s.buildTakes = time.Second }, func(s *harness) {
		s.after(100 * time.Millisecond)
		if s.prioritizedCount() != 0 {
			t.Error("nobody waits")
		}
		leave := s.waitingRequest()
		defer leave()
		if s.prioritizedCount() == 0 {
			t.Error("the build does not know that somebody waits")
		}
		n := s.prioritizedCount()
		s.save("v2")
		s.after(0)
		if s.prioritizedCount() == n {
			t.Error("the next build does not know that somebody waits")
		}
	})
}

func TestABurstOfSavesDoesNotStarve(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		for i := range 30 {
			s.save(fmt.Sprint("v", 2+i))
			s.after(100 * time.Millisecond)
		}
		if s.startCount() < 3 {
			t.Errorf("in 3 s of saving only %d workers were started", s.startCount())
		}
		s.after(time.Second)
		s.wantServing("v31")
	})
}

func TestALaterSaveCancelsALongBuild(t *testing.T) {
	withPage(t, func(s *harness) { s.buildTakes = 10 * time.Second }, func(s *harness) {
		for i := range 5 { // a person's pace
			s.after(3 * time.Second)
			s.save(fmt.Sprint("v", 2+i))
		}
		s.after(10*time.Second + 5*time.Millisecond)
		s.wantServing("v6")
		if s.startCount() != 1 {
			t.Errorf("%d workers were started", s.startCount())
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

func TestABrokenBuildChangesNothingThatServes(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		s.save("broken")
		s.after(time.Second)
		s.wantPhase(state.Failed)
		if s.wantServing("v1") != old || s.startCount() != 1 {
			t.Error("another worker serves")
		}
		if p := s.state(); p.ServingBuild != 1 || p.Build.Number != 2 || len(p.Build.Problems) != 1 {
			t.Errorf("got %+v", p)
		}
		s.save("v1") // undone
		s.after(time.Second)
		s.wantPhase(state.Serving)
		if s.wantServing("v1") != old {
			t.Error("an undone edit restarted the worker")
		}
		if p := s.state(); p.Build.Number != 1 || len(p.Build.Problems) != 0 {
			t.Errorf("the build shown is %+v", p.Build)
		}
	})
}

func TestHalfASaveIsNoFailure(t *testing.T) {
	withPage(t, func(s *harness) { s.buildTakes = 5 * time.Millisecond }, func(s *harness) {
		s.after(time.Second)
		s.save("broken") // the file was emptied
		s.after(30 * time.Millisecond)
		s.wantPhase(state.Building)
		s.save("v2") // and is written
		s.after(time.Second)
		s.wantServing("v2")
		if p := s.state(); p.Build.Number != 2 {
			t.Errorf("the build shown is %+v", p.Build)
		}
		s.save("broken")
		s.after(time.Second)
		s.wantPhase(state.Failed)
		if p := s.state(); time.Duration(p.Build.Took) != 5*time.Millisecond {
			t.Errorf("waiting is counted: %v", p.Build.Took)
		}
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

func TestRestartReplacesWithoutBuilding(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		if err := s.command(state.Restart); err != nil {
			t.Fatal(err)
		}
		s.after(time.Second)
		if s.wantServing("v1") == old || s.buildCount() != 1 {
			t.Errorf("%d builds", s.buildCount())
		}
	})
}

func TestRebuildBuildsThoughNothingChanged(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		if err := s.command(state.Rebuild); err != nil {
			t.Fatal(err)
		}
		s.after(time.Second)
		if s.wantServing("v1") != old || s.buildCount() != 2 {
			t.Errorf("%d builds", s.buildCount())
		}
	})
}

func TestCommandsDuringABuild(t *testing.T) {
	for verb, want := range map[state.Verb]state.Phase{
		state.Stop: state.Stopped, state.Kill: state.Stopped, state.Rebuild: state.Serving, state.Restart: state.Serving,
	} {
		t.Run(string(verb), func(t *testing.T) {
			withPage(t, nil, func(s *harness) {
				s.after(time.Second)
				s.save("v2")
				s.after(100 * time.Millisecond)
				if err := s.command(verb); err != nil {
					t.Fatal(err)
				}
				s.after(time.Second)
				s.wantPhase(want)
				if want == state.Serving {
					s.wantServing("v2")
				}
			})
		})
	}
}

func TestAStoppedPageStaysSoUntilItIsStarted(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		if err := s.command(state.Stop); err != nil {
			t.Fatal(err)
		}
		s.after(time.Second)
		s.save("v2")
		s.after(time.Second)
		s.wantPhase(state.Stopped)
		if err := s.command(state.Stop); err == nil {
			t.Error("it can be stopped twice")
		}
		if err := s.command(state.Restart); err == nil {
			t.Error("it can be restarted although it is stopped")
		}
		if err := s.command(state.Start); err != nil {
			t.Fatal(err)
		}
		s.after(time.Second)
		s.wantServing("v2")
		if err := s.command(state.Start); err == nil {
			t.Error("it can be started twice")
		}
	})
}

func TestKillDoesNotWaitForWhoDoesNotListen(t *testing.T) {
	withPage(t, func(s *harness) { s.ignoresTERM = true }, func(s *harness) {
		s.after(time.Second)
		w := s.wantServing("v1")
		if err := s.command(state.Kill); err != nil {
			t.Fatal(err)
		}
		s.after(time.Millisecond)
		select {
		case <-w.done:
		default:
			t.Error("it still runs")
		}
	})
}

func TestAPortThatIsTakenCostsNoPenalty(t *testing.T) {
	withPage(t, func(s *harness) { s.takenPorts[9000], s.takenPorts[9001] = true, true }, func(s *harness) {
		s.after(time.Second)
		if port := s.wantServing("v1").port(); port != 9002 {
			t.Errorf("it listens on %d", port)
		}
		if n := s.crashes(); n != 0 {
			t.Errorf("%d crashes", n)
		}
	})
}

func TestAPageWaitsForAPort(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		var taken []int
		for range 4 {
			port, _ := s.page.ports.acquire()
			taken = append(taken, port)
		}
		s.after(5 * time.Second)
		s.wantPhase(state.Waiting)
		if n := s.countMessages("waiting for a port"); n != 1 {
			t.Errorf("that was said %d times", n)
		}
		for _, port := range taken {
			s.page.ports.release(port)
		}
		s.after(6 * time.Millisecond)
		s.wantServing("v1")
	})
}

func TestASwapWithoutASparePortStopsTheOldWorkerFirst(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		var taken []int
		for range 3 {
			port, _ := s.page.ports.acquire()
			taken = append(taken, port)
		}
		defer func() {
			for _, port := range taken {
				s.page.ports.release(port)
			}
		}()
		old := s.wantServing("v1")
		s.save("v2")
		s.after(time.Second)
		if s.wantServing("v2").port() != old.port() {
			t.Error("it got another port")
		}
		s.after(probationTime) // or v1 would come back
		s.set(func() { s.dies, s.ready = time.Millisecond, -1 })
		s.save("v3")
		s.after(100 * time.Millisecond)
		s.set(func() {})
		s.after(120 * time.Millisecond)
		s.set(func() { s.dies, s.ready = -1, time.Millisecond })
		s.after(10 * time.Second)
		s.wantServing("v2") // v3 did not start, and had its port from it
		s.wantPhase(state.Failed)
	})
}

func TestAWorkerOutsideTheRangeServesUntilThereIsAPort(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		narrow := []int{9100, 9101}
		var taken []int
		s.page.ports.setRange(narrow[0], narrow[1])
		for range narrow {
			port, _ := s.page.ports.acquire()
			taken = append(taken, port)
		}
		s.page.call(func() { s.page.configure(s.page.page.cfg, false, func(bool) {}) })
		s.after(time.Minute)
		if s.wantServing("v1") != old || old.stopCount() > 0 {
			t.Error("it gave up a port that is of no use to it")
		}
		s.wantMessage("waiting for a port")
		for _, port := range taken {
			s.page.ports.release(port)
		}
		s.after(time.Second)
		if port := s.wantServing("v1").port(); port < narrow[0] || port > narrow[1] {
			t.Errorf("it serves on %d", port)
		}
	})
}

func TestAPageWhosePortLeavesTheRangeWhileItIsGivenUpGetsAnother(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		for range 3 {
			port, _ := s.page.ports.acquire()
			defer s.page.ports.release(port)
		}
		old := s.wantServing("v1")
		s.set(func() { old.ignoresTERM = true })
		s.save("v2")
		s.after(300 * time.Millisecond)
		s.page.ports.setRange(9100, 9101)
		s.after(time.Minute)
		if port := s.wantServing("v2").port(); port != 9100 {
			t.Errorf("it serves on %d", port)
		}
	})
}

func TestAFullDiskIsTriedAgain(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.save("disk full")
		s.after(time.Second)
		s.wantPhase(state.Failed)
		s.wantServing("v1")
		s.set(func() { s.content = "v2" })
		s.after(10 * time.Second)
		s.wantServing("v2")
		s.wantPhase(state.Serving)
	})
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

func TestABinaryThatWasDeletedIsBuiltAgain(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		s.set(func() { s.deleted = true })
		if err := s.command(state.Restart); err != nil {
			t.Fatal(err)
		}
		s.after(time.Second)
		if s.wantServing("v1") == old || s.buildCount() != 2 {
			t.Errorf("%d builds", s.buildCount())
		}
		s.set(func() { s.deleted = true })
		s.wantServing("v1").end("signal: killed")
		s.after(time.Second)
		s.wantServing("v1")
	})
}

func TestABinaryThatIsDamagedIsBuiltAgain(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		s.set(func() { s.damaged = true })
		if err := s.command(state.Restart); err != nil {
			t.Fatal(err)
		}
		s.after(time.Second)
		if s.wantServing("v1") == old || s.buildCount() != 2 {
			t.Errorf("%d builds", s.buildCount())
		}
		s.wantMessage("the binary is damaged: rebuilding the page")
		s.set(func() { s.damaged = true })
		s.wantServing("v1").end("signal: killed")
		s.after(time.Second)
		s.wantServing("v1")
		if s.buildCount() != 3 {
			t.Errorf("%d builds", s.buildCount())
		}
	})
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

func TestABuildThatASaveCancelledIsNotTold(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.set(func() { s.buildTakes = 0 })
		s.save("disk full")
		s.after(10 * time.Millisecond)
		s.save("disk full")
		s.after(500 * time.Millisecond)
		if n := s.countMessages("build failed"); n != 1 {
			t.Errorf("it is told %d times", n)
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

func TestTheVersionThatGaveItsPortReturnsAfterTwoSaves(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		for range 3 {
			port, _ := s.page.ports.acquire()
			defer s.page.ports.release(port)
		}
		s.wantServing("v1")
		s.set(func() { s.ready = time.Second })
		s.save("v2")
		s.after(300 * time.Millisecond)
		s.wantPhase(state.Starting)
		s.set(func() { s.dies, s.ready = 5*time.Millisecond, -1 })
		s.save("v3")
		s.after(300 * time.Millisecond)
		s.set(func() { s.dies, s.ready = -1, time.Millisecond })
		s.after(2 * time.Second)
		s.wantServing("v1")
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

func TestAnUndoneEditDuringAStartIsNoFailure(t *testing.T) {
	withPage(t, func(s *harness) { s.ready = 2 * time.Second }, func(s *harness) {
		s.after(300 * time.Millisecond)
		s.save("broken")
		s.after(300 * time.Millisecond)
		s.save("v1")
		s.after(3 * time.Second)
		s.wantServing("v1")
		s.wantPhase(state.Serving)
		if p := s.state(); len(p.Build.Problems) != 0 {
			t.Errorf("the build shown is %+v", p.Build)
		}
	})
}

func TestAnUndoneEditIsWhatARestartStarts(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.set(func() { s.dies, s.ready = time.Millisecond, -1 })
		s.save("v2")
		s.after(time.Second)
		s.set(func() { s.dies, s.ready = -1, time.Second })
		s.wantServing("v1").end("signal: killed")
		s.after(100 * time.Millisecond)
		s.save("v1")
		s.after(2 * time.Second)
		s.wantServing("v1")
		if err := s.command(state.Restart); err != nil {
			t.Fatal(err)
		}
		s.after(2 * time.Second)
		s.wantServing("v1")
		s.wantPhase(state.Serving)
	})
}

func TestAPageThatIsStartedAsItStopsHasOneBuild(t *testing.T) {
	withPage(t, func(s *harness) { s.cancelDelay = 50 * time.Millisecond }, func(s *harness) {
		s.after(time.Second)
		s.save("v2")
		s.after(100 * time.Millisecond)
		for _, verb := range []state.Verb{state.Stop, state.Start} {
			if err := s.command(verb); err != nil {
				t.Fatal(err)
			}
		}
		s.after(time.Second)
		s.wantServing("v2")
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

func TestAPortThatComesBackIsWaitedFor(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		for range 2 {
			port, _ := s.page.ports.acquire()
			defer s.page.ports.release(port)
		}
		old := s.wantServing("v1")
		s.set(func() { s.ready = time.Second; s.ignoresTERM = true })
		s.save("v2")
		s.after(300 * time.Millisecond)
		s.set(func() { s.ready = 100 * time.Millisecond })
		s.save("v3")
		s.after(250 * time.Millisecond)
		if s.wantServing("v1") != old {
			t.Error("another worker serves")
		}
		s.after(time.Second)
		s.wantServing("v3")
	})
}

func TestAFullDiskIsTriedAgainThoughTheWorkerEnds(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.save("disk full")
		s.after(250 * time.Millisecond)
		s.set(func() { s.content = "v2" })
		s.wantServing("v1").end("signal: killed")
		s.after(time.Minute)
		s.wantServing("v2")
	})
}
