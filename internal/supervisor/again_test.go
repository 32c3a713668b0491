package supervisor

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"tqserver/internal/state"
)

// refuses checks that who asks for the page now gets an answer at once.
func (s *stage) refuses(when string) {
	s.t.Helper()
	leave := s.wait()
	defer leave()
	if held := s.page.entry.Held(); held > 0 {
		s.t.Errorf("%s: a request is held", when)
	}
}

func TestAPageWhoseBinaryIsGoneAndCannotBeBuiltIsRefusedAtOnce(t *testing.T) {
	for _, content := range []string{"broken", "no go", "disk full"} {
		perform(t, nil, func(s *stage) {
			s.after(time.Second)
			s.set(func() { s.content, s.deleted, s.vanishes = content, true, true })
			s.serves("v1").end("signal: killed")
			s.after(250 * time.Millisecond)
			s.phase(state.Failed)
			for range 100 {
				s.refuses(content)
				s.after(70 * time.Millisecond)
			}
			s.after(5 * time.Minute)
			if builds, starts := s.built()-1, s.tries()-1; builds > 25 || starts > 25 || builds < 5 {
				t.Errorf("%s: in five minutes %d builds, %d starts", content, builds, starts)
			}
			s.set(func() { s.content, s.vanishes = "v2", false })
			s.after(time.Minute)
			s.serves("v2")
			s.phase(state.Serving)
		})
	}
}

func TestAStartThatTheSystemHasNoMeansForIsTriedAgain(t *testing.T) {
	for _, err := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM} {
		t.Run(err.Error(), func(t *testing.T) {
			perform(t, nil, func(s *stage) {
				s.after(time.Minute)
				old := s.serves("v1")
				s.set(func() { s.unbound = fmt.Errorf("start /bin/v2: %w", err) })
				s.save("v2")
				s.after(5 * time.Minute)
				if s.serves("v1") != old {
					t.Error("another worker serves")
				}
				s.wantSaid("cannot start the worker now: trying again")
				if n := s.tries() - 1; n < 10 || n > 25 {
					t.Errorf("in five minutes it was tried %d times", n)
				}
				s.set(func() { s.unbound = nil })
				s.after(time.Minute)
				s.serves("v2")
				s.phase(state.Serving)
				if n := s.crashes(); n != 0 {
					t.Errorf("it counts as %d crashes", n)
				}

				s.set(func() { s.unbound = err })
				s.serves("v2").end("signal: killed")
				s.after(10 * time.Second)
				s.set(func() { s.unbound = nil })
				s.after(time.Minute)
				s.serves("v2")
				if n := s.count(putBackSaid); n != 0 {
					t.Error("the build was put back")
				}
			})
		})
	}
}

func TestAHealthCheckThatTheServerHasNoMeansForCountsForNothing(t *testing.T) {
	perform(t, nil, func(s *stage) {
		s.after(time.Second)
		old := s.serves("v1")
		s.set(func() { s.sick, s.noProbe = true, fmt.Errorf("dial tcp: %w", syscall.EMFILE) })
		s.after(time.Hour)
		if s.serves("v1") != old || s.state().Workers[0].FailedChecks != 0 {
			t.Error("the worker is taken to be unhealthy")
		}
	})
}

func TestNothingIsBuiltByItselfWhileSavesArePaused(t *testing.T) {
	for name, prepare := range map[string]func(*stage){
		"the first build missed a save": func(s *stage) { s.stale, s.took = true, time.Second },
		"another toolchain builds":      func(s *stage) { s.mistaken, s.learns = true, time.Second },
		"the disk is full":              func(s *stage) { s.content = "disk full" },
	} {
		t.Run(name, func(t *testing.T) {
			perform(t, prepare, func(s *stage) {
				s.after(500 * time.Millisecond)
				s.page.paused.Store(true)
				s.set(func() { s.content = "v2" })
				s.after(time.Hour)
				if s.built() != 1 {
					t.Errorf("there were %d builds", s.built())
				}
				if !s.page.missed.Load() {
					t.Error("it will not be built when saving resumes")
				}
			})
		})
	}
}
