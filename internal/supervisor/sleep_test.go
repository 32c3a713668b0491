package supervisor

import (
	"testing"
	"time"

	"tqserver/internal/state"
)

func onDemandStage(s *harness) { s.onDemand = true }

func TestAPageSleepsUntilItIsAskedFor(t *testing.T) {
	withPage(t, onDemandStage, func(s *harness) {
		s.after(time.Hour)
		s.wantPhase(state.Asleep)
		if s.startCount() != 0 || s.state().ServingBuild != 1 {
			t.Errorf("%d workers were started, and %d would answer", s.startCount(), s.state().ServingBuild)
		}
		s.request()
		s.after(5 * time.Millisecond)
		s.wantPhase(state.Serving)
		s.wantServing("v1")
	})
}

func TestAPageThatIsAskedForWhileItIsBuiltDoesNotSleep(t *testing.T) {
	withPage(t, onDemandStage, func(s *harness) {
		leave := s.waitingRequest()
		s.after(205 * time.Millisecond)
		s.wantServing("v1")
		leave()
	})
	withPage(t, onDemandStage, func(s *harness) {
		s.request() // and leaves
		s.after(time.Second)
		s.wantPhase(state.Asleep)
	})
}

func TestAWorkerThatNobodyAsksForIsStopped(t *testing.T) {
	withPage(t, onDemandStage, func(s *harness) {
		s.after(time.Second)
		s.request()
		s.after(4 * time.Minute)
		first := s.wantServing("v1")
		s.request()
		s.after(4 * time.Minute)
		if s.wantServing("v1") != first {
			t.Error("another worker serves")
		}
		s.after(3 * time.Minute)
		s.wantPhase(state.Asleep)
		if first.stopCount() != 1 {
			t.Errorf("the worker was stopped %d times", first.stopCount())
		}
		s.request()
		s.after(time.Second)
		s.wantServing("v1")
		if s.startCount() != 2 || s.buildCount() != 1 || s.state().Restarts != 0 {
			t.Errorf("%d workers of %d builds were started, %d of them unplanned", s.startCount(), s.buildCount(), s.state().Restarts)
		}
	})
}

func TestASaveDoesNotWakeAPage(t *testing.T) {
	withPage(t, onDemandStage, func(s *harness) {
		s.after(time.Second)
		s.save("v2")
		s.after(time.Second)
		s.wantPhase(state.Asleep)
		s.save("v2")
		s.after(time.Second)
		s.wantPhase(state.Asleep)
		s.wantMessage("nothing changed")
		s.save("broken")
		s.after(time.Second)
		s.wantPhase(state.Failed)
		if s.startCount() != 0 {
			t.Errorf("%d workers were started", s.startCount())
		}
		s.request()
		s.after(time.Second)
		s.wantPhase(state.Failed)
		s.wantServing("v2")
	})
}

func TestAVersionThatDoesNotWakeIsReplacedByTheOneBefore(t *testing.T) {
	withPage(t, onDemandStage, func(s *harness) {
		s.after(time.Second)
		s.request()
		s.after(time.Hour)
		s.wantPhase(state.Asleep)
		s.save("v2")
		s.after(time.Second)
		s.set(func() { s.dies = time.Millisecond })
		s.request()
		s.after(time.Millisecond)
		s.set(func() { s.dies = -1 })
		s.after(time.Second)
		s.wantServing("v1")
		s.wantPhase(state.Failed)
	})
}

func TestWhatIsAskedOfAPageThatSleeps(t *testing.T) {
	for verb, want := range map[state.Verb]state.Phase{
		state.Start: state.Serving, state.Restart: state.Serving, state.Rebuild: state.Asleep, state.Stop: state.Stopped, state.Kill: state.Stopped,
	} {
		withPage(t, onDemandStage, func(s *harness) {
			s.after(time.Second)
			if err := s.command(verb); err != nil {
				t.Error(err)
			}
			s.after(time.Second)
			s.wantPhase(want)
			if want == state.Stopped {
				s.request()
				s.after(time.Second)
				s.wantPhase(state.Stopped)
			}
		})
	}
}

func TestSettingsWakeAPage(t *testing.T) {
	withPage(t, onDemandStage, func(s *harness) {
		s.after(time.Second)
		cfg, settled := s.settings(), false
		cfg.worker.Start = "always"
		s.page.call(func() { s.page.configure(cfg, false, func(bool) { settled = true }) })
		s.after(time.Second)
		s.wantServing("v1")
		if s.after(time.Hour); !settled || s.startCount() != 1 {
			t.Errorf("settled: %v, %d workers were started", settled, s.startCount())
		}
		cfg.worker.Start = "on_demand"
		s.page.call(func() { s.page.configure(cfg, false, func(bool) {}) })
		s.after(7 * time.Minute)
		s.wantPhase(state.Asleep)
	})
}
