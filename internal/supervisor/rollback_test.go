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
		if page.ServingOn != 1 || page.Build.Number != 2 || !strings.Contains(page.Problem, "build 2 crashed 2 times") || page.LastWords != "panic: v2" {
			t.Errorf("the page shows %+v", page)
		}

		s.save("v3")
		s.after(time.Second)
		s.serves("v3")
		s.phase(state.Serving)
		if words := s.state().LastWords; words != "" {
			t.Errorf("v3 has last words: %s", words)
		}
	})
}

func TestABuildThatMadeWayIsTriedAgainWhenItIsSaved(t *testing.T) {
	perform(t, nil, func(s *stage) {
		s.after(time.Minute)
		s.save("v2")
		s.after(time.Second)
		s.end("v2")
		s.end("v2")
		s.save("v2")
		s.after(time.Second)
		s.end("v2")
		s.end("v2")
		s.serves("v1")
		if n := s.count(putBackSaid); n != 2 {
			t.Errorf("it was put back %d times", n)
		}
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
