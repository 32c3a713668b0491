package supervisor

import (
	"fmt"
	"testing"
	"time"

	"tqserver/internal/state"
)

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
