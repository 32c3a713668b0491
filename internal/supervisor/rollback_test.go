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
func (s *stage) end(content string) {
	s.t.Helper()
	worker := s.serves(content)
	worker.spec.Output(worker.pid, true, []byte("panic: "+content+"\n"))
	worker.end("exit status 2")
	s.after(time.Second)
}

func TestABuildThatEndsTwiceInItsFirstTenSecondsMakesWay(t *testing.T) {
	perform(t, nil, func(s *stage) {
		s.after(time.Minute)
		s.save("v2")
		s.after(time.Second)
		s.end("v2")
		s.end("v2")
		s.serves("v1")
		s.wantSaid(putBackSaid)
		s.phase(state.Failed)
		page := s.state()
		if page.ServingBuild != 1 || page.Build.Number != 2 || !strings.Contains(page.Problem, "build 2 crashed 2 times") || page.LastOutput != "panic: v2" {
			t.Errorf("the page shows %+v", page)
		}

		s.save("v3")
		s.after(time.Second)
		s.serves("v3")
		s.phase(state.Serving)
		if words := s.state().LastOutput; words != "" {
			t.Errorf("v3 has last words: %s", words)
		}
	})
}

func TestABuildThatMadeWayIsTriedAgainByHandOnly(t *testing.T) {
	perform(t, nil, func(s *stage) {
		s.after(time.Minute)
		s.save("v2")
		s.after(time.Second)
		s.end("v2")
		s.end("v2")
		s.serves("v1")
		starts := s.starts()
		s.save("v2") // the same bytes
		s.after(time.Minute)
		s.serves("v1")
		s.phase(state.Failed)
		if page := s.state(); s.starts() != starts || page.Build.Number != 2 || !strings.Contains(page.Problem, "build 2 crashed 2 times") {
			t.Errorf("after the same bytes there were %d starts, and the page shows %+v", s.starts()-starts, page)
		}
		if err := s.command(state.Rebuild); err != nil {
			t.Fatal(err)
		}
		s.after(time.Second)
		s.serves("v2")
		s.end("v2")
		s.end("v2")
		s.serves("v1")
		if n := s.count(putBackSaid); n != 2 {
			t.Errorf("it was put back %d times", n)
		}
		s.save("v3")
		s.after(time.Second)
		s.serves("v3")
		s.phase(state.Serving)
		s.save("v2") // undone: what serves is better
		s.after(time.Second)
		s.serves("v3")
		s.phase(state.Failed)
	})
}

func TestABuildThatMadeWayIsNotStartedByTheNextServer(t *testing.T) {
	for _, onDemand := range []bool{false, true} {
		perform(t, func(s *stage) {
			s.onDemand, s.content, s.putBack = onDemand, "v2", map[string]string{"/bin/v2": "/bin/v1"}
		}, func(s *stage) {
			s.after(time.Second)
			s.request()
			s.after(time.Second)
			s.serves("v1")
			s.phase(state.Failed)
			if page := s.state(); page.Build.Number != 2 || page.ServingBuild != 1 || !strings.Contains(page.Problem, "build 2 kept crashing") {
				t.Errorf("the page shows %+v", page)
			}
			s.serves("v1").end("signal: killed")
			s.after(time.Second)
			s.serves("v1")
			s.save("v3")
			s.after(time.Second)
			s.serves("v3")
			s.phase(state.Serving)
		})
	}
	perform(t, func(s *stage) { s.content, s.putBack = "v2", map[string]string{"/bin/v2": "/bin/v1"} }, func(s *stage) {
		s.page.dev.Store(true) // its author wants to see it fail
		s.after(time.Second)
		s.serves("v2")
	})
}

func TestABuildThatDiesAtItsSecondStartMakesWay(t *testing.T) {
	perform(t, nil, func(s *stage) {
		s.after(time.Minute)
		s.save("v2")
		s.after(time.Second)
		s.set(func() { s.dies = time.Millisecond })
		worker := s.serves("v2")
		s.page.ask(func() { s.set(func() { s.dies = time.Millisecond }) })
		worker.end("exit status 2")
		s.after(time.Millisecond)
		s.set(func() { s.dies = -1 })
		s.after(time.Second)
		s.serves("v1")
	})
}

func TestWhatDoesNotMakeWay(t *testing.T) {
	for name, play := range map[string]func(*stage) (serves string){
		"in development": func(s *stage) string {
			s.page.dev.Store(true)
			s.save("v2")
			s.after(time.Second)
			s.end("v2")
			s.end("v2")
			return "v2"
		},
		"after ten seconds": func(s *stage) string {
			s.save("v2")
			s.after(time.Second)
			s.end("v2")
			s.after(9 * time.Second)
			s.end("v2")
			return "v2"
		},
		"once": func(s *stage) string {
			s.save("v2")
			s.after(time.Second)
			s.end("v2")
			return "v2"
		},
		"without a build before": func(s *stage) string {
			s.end("v1")
			s.end("v1")
			return "v1"
		},
		"for one that made way itself": func(s *stage) string {
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
			perform(t, nil, func(s *stage) {
				s.after(time.Second)
				content := play(s)
				s.after(2 * time.Second)
				s.serves(content)
				if said := s.said(); name != "for one that made way itself" && slices.Contains(said, putBackSaid) {
					t.Errorf("said: %q", said)
				}
			})
		})
	}
}
