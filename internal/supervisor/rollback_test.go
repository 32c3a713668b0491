package supervisor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tqserver/internal/state"
)

const putBackSaid = "the new build keeps crashing: rolling back to the previous build"

// end has the worker that serves end by itself.
func (s *harness) end(content string) {
	s.t.Helper()
	worker := s.wantServing(content)
	worker.spec.Output(worker.pid, true, []byte("panic: "+content+"\n"))
	worker.end("exit status 2")
	s.after(time.Second)
}

func TestABuildThatEndsTwiceInItsFirstTenSecondsMakesWay(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Minute)
		s.save("v2")
		s.after(time.Second)
		s.end("v2")
		s.end("v2")
		s.wantServing("v1")
		s.wantMessage(putBackSaid)
		s.wantPhase(state.Failed)
		page := s.state()
		if page.ServingBuild != 1 || page.Build.Number != 2 || page.Trouble.Kind != state.TroubleRollback || !strings.Contains(page.Trouble.Text, "build 2 crashed 2 times") || page.Trouble.LastOutput != "panic: v2" {
			t.Errorf("the page shows %+v", page)
		}

		s.save("v3")
		s.after(time.Second)
		s.wantServing("v3")
		s.wantPhase(state.Serving)
		if words := s.state().Trouble.LastOutput; words != "" {
			t.Errorf("v3 has last words: %s", words)
		}
	})
}

func TestABuildThatMadeWayIsTriedAgainByHandOnly(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Minute)
		s.save("v2")
		s.after(time.Second)
		s.end("v2")
		s.end("v2")
		s.wantServing("v1")
		starts := s.startCount()
		s.save("v2") // the same bytes
		s.after(time.Minute)
		s.wantServing("v1")
		s.wantPhase(state.Failed)
		if page := s.state(); s.startCount() != starts || page.Build.Number != 2 || page.Trouble.Kind != state.TroubleRollback || !strings.Contains(page.Trouble.Text, "build 2 crashed 2 times") {
			t.Errorf("after the same bytes there were %d starts, and the page shows %+v", s.startCount()-starts, page)
		}
		if err := s.command(state.Rebuild); err != nil {
			t.Fatal(err)
		}
		s.after(time.Second)
		s.wantServing("v2")
		s.end("v2")
		s.end("v2")
		s.wantServing("v1")
		if n := s.countMessages(putBackSaid); n != 2 {
			t.Errorf("it was put back %d times", n)
		}
		s.save("v3")
		s.after(time.Second)
		s.wantServing("v3")
		s.wantPhase(state.Serving)
		s.save("v2") // undone: what serves is better
		s.after(time.Second)
		s.wantServing("v3")
		s.wantPhase(state.Failed)
	})
}

func TestABuildThatMadeWayIsNotStartedByTheNextServer(t *testing.T) {
	for _, onDemand := range []bool{false, true} {
		withPage(t, func(s *harness) {
			s.onDemand, s.content, s.putBack = onDemand, "v2", map[string]string{"/bin/v2": "/bin/v1"}
		}, func(s *harness) {
			s.after(time.Second)
			s.request()
			s.after(time.Second)
			s.wantServing("v1")
			s.wantPhase(state.Failed)
			if page := s.state(); page.Build.Number != 2 || page.ServingBuild != 1 || page.Trouble.Kind != state.TroubleRollback || !strings.Contains(page.Trouble.Text, "build 2 kept crashing") {
				t.Errorf("the page shows %+v", page)
			}
			s.wantServing("v1").end("signal: killed")
			s.after(time.Second)
			s.wantServing("v1")
			s.save("v3")
			s.after(time.Second)
			s.wantServing("v3")
			s.wantPhase(state.Serving)
		})
	}
	withPage(t, func(s *harness) { s.content, s.putBack = "v2", map[string]string{"/bin/v2": "/bin/v1"} }, func(s *harness) {
		s.page.dev.Store(true) // its author wants to see it fail
		s.after(time.Second)
		s.wantServing("v2")
	})
}

func TestABuildThatDiesAtItsSecondStartMakesWay(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Minute)
		s.save("v2")
		s.after(time.Second)
		s.set(func() { s.dies = time.Millisecond })
		worker := s.wantServing("v2")
		s.page.call(func() { s.set(func() { s.dies = time.Millisecond }) })
		worker.end("exit status 2")
		s.after(time.Millisecond)
		s.set(func() { s.dies = -1 })
		s.after(time.Second)
		s.wantServing("v1")
	})
}

func TestWhatDoesNotMakeWay(t *testing.T) {
	for name, play := range map[string]func(*harness) (serves string){
		"in development": func(s *harness) string {
			s.page.dev.Store(true)
			s.save("v2")
			s.after(time.Second)
			s.end("v2")
			s.end("v2")
			return "v2"
		},
		"after ten seconds": func(s *harness) string {
			s.save("v2")
			s.after(time.Second)
			s.end("v2")
			s.after(9 * time.Second)
			s.end("v2")
			return "v2"
		},
		"once": func(s *harness) string {
			s.save("v2")
			s.after(time.Second)
			s.end("v2")
			return "v2"
		},
		"without a build before": func(s *harness) string {
			s.end("v1")
			s.end("v1")
			return "v1"
		},
		"for one that made way itself": func(s *harness) string {
			s.save("v2")
			s.after(time.Second)
			s.end("v2")
			s.end("v2")
			s.end("v1")
			s.end("v1")
			return "v1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			withPage(t, nil, func(s *harness) {
				s.after(time.Second)
				content := play(s)
				s.after(2 * time.Second)
				s.wantServing(content)
				if said := s.messages(); name != "for one that made way itself" && slices.Contains(said, putBackSaid) {
					t.Errorf("said: %q", said)
				}
			})
		})
	}
}
