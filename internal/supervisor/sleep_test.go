package supervisor

import (
	"testing"
	"time"

	"tqserver/internal/state"
)

func onDemandStage(s *stage) { s.onDemand = true }

func TestAPageSleepsUntilItIsAskedFor(t *testing.T) {
	perform(t, onDemandStage, func(s *stage) {
		s.after(time.Hour)
		s.phase(state.Asleep)
		if s.starts() != 0 || s.state().ServingBuild != 1 {
			t.Errorf("%d workers were started, and %d would answer", s.starts(), s.state().ServingBuild)
		}
		s.request()
		s.after(5 * time.Millisecond)
		s.phase(state.Serving)
		s.serves("v1")
	})
}

func TestAPageThatIsAskedForWhileItIsBuiltDoesNotSleep(t *testing.T) {
	perform(t, onDemandStage, func(s *stage) {
		leave := s.wait()
		s.after(205 * time.Millisecond)
		s.serves("v1")
		leave()
	})
	perform(t, onDemandStage, func(s *stage) {
		s.request() // and leaves
		s.after(time.Second)
		s.phase(state.Asleep)
	})
}

func TestAWorkerThatNobodyAsksForIsStopped(t *testing.T) {
	perform(t, onDemandStage, func(s *stage) {
		s.after(time.Second)
		s.request()
		s.after(4 * time.Minute)
		first := s.serves("v1")
		s.request()
		s.after(4 * time.Minute)
		if s.serves("v1") != first {
			t.Error("another worker serves")
		}
		s.after(3 * time.Minute)
		s.phase(state.Asleep)
		if first.stopped() != 1 {
			t.Errorf("the worker was stopped %d times", first.stopped())
		}
		s.request()
		s.after(time.Second)
		s.serves("v1")
		if s.starts() != 2 || s.built() != 1 || s.state().Restarts != 0 {
			t.Errorf("%d workers of %d builds were started, %d of them unplanned", s.starts(), s.built(), s.state().Restarts)
		}
	})
}

func TestASaveDoesNotWakeAPage(t *testing.T) {
	perform(t, onDemandStage, func(s *stage) {
		s.after(time.Second)
		s.save("v2")
		s.after(time.Second)
		s.phase(state.Asleep)
		s.save("v2")
		s.after(time.Second)
		s.phase(state.Asleep)
		s.wantSaid("nothing changed")
		s.save("broken")
		s.after(time.Second)
		s.phase(state.Failed)
		if s.starts() != 0 {
			t.Errorf("%d workers were started", s.starts())
		}
		s.request()
		s.after(time.Second)
		s.phase(state.Failed)
		s.serves("v2")
	})
}

func TestAVersionThatDoesNotWakeIsReplacedByTheOneBefore(t *testing.T) {
	perform(t, onDemandStage, func(s *stage) {
		s.after(time.Second)
		s.request()
		s.after(time.Hour)
		s.phase(state.Asleep)
		s.save("v2")
		s.after(time.Second)
		s.set(func() { s.dies = time.Millisecond })
		s.request()
		s.after(time.Millisecond)
		s.set(func() { s.dies = -1 })
		s.after(time.Second)
		s.serves("v1")
		s.phase(state.Failed)
	})
}

func TestWhatIsAskedOfAPageThatSleeps(t *testing.T) {
	for verb, want := range map[state.Verb]state.Phase{
		state.Start: state.Serving, state.Restart: state.Serving, state.Rebuild: state.Asleep, state.Stop: state.Stopped, state.Kill: state.Stopped,
	} {
		perform(t, onDemandStage, func(s *stage) {
			s.after(time.Second)
			if err := s.command(verb); err != nil {
				t.Error(err)
			}
			s.after(time.Second)
			s.phase(want)
			if want == state.Stopped {
				s.request()
				s.after(time.Second)
				s.phase(state.Stopped)
			}
		})
	}
}

func TestSettingsWakeAPage(t *testing.T) {
	perform(t, onDemandStage, func(s *stage) {
		s.after(time.Second)
		cfg, settled := s.settings(), false
		cfg.workers.Start = "always"
		s.page.ask(func() { s.page.configure(cfg, false, func(bool) { settled = true }) })
		s.after(time.Second)
		s.serves("v1")
		if s.after(time.Hour); !settled || s.starts() != 1 {
			t.Errorf("settled: %v, %d workers were started", settled, s.starts())
		}
		cfg.workers.Start = "on_demand"
		s.page.ask(func() { s.page.configure(cfg, false, func(bool) {}) })
		s.after(7 * time.Minute)
		s.phase(state.Asleep)
	})
}
