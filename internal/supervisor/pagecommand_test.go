package supervisor

import (
	"testing"
	"time"

	"tqserver/internal/state"
)

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
