package supervisor

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"tqserver/internal/state"
)

// refuses checks that who asks for the page now gets an answer at once.
func (s *harness) refuses(when string) {
	s.t.Helper()
	leave := s.waitingRequest()
	defer leave()
	if held := s.page.entry.Held(); held > 0 {
		s.t.Errorf("%s: a request is held", when)
	}
}

func TestAPageWhoseBinaryIsGoneAndCannotBeBuiltIsRefusedAtOnce(t *testing.T) {
	for _, content := range []string{"broken", "no go", "disk full"} {
		withPage(t, nil, func(s *harness) {
			s.after(time.Second)
			s.set(func() { s.content, s.deleted, s.binariesVanish = content, true, true })
			s.wantServing("v1").end("signal: killed")
			s.after(250 * time.Millisecond)
			s.wantPhase(state.Failed)
			for range 100 {
				s.refuses(content)
				s.after(70 * time.Millisecond)
			}
			s.after(5 * time.Minute)
			if builds, starts := s.buildCount()-1, s.startTries()-1; builds > 25 || starts > 25 || builds < 5 {
				t.Errorf("%s: in five minutes %d builds, %d starts", content, builds, starts)
			}
			s.set(func() { s.content, s.binariesVanish = "v2", false })
			s.after(time.Minute)
			s.wantServing("v2")
			s.wantPhase(state.Serving)
		})
	}
}

func TestAStartThatTheSystemHasNoMeansForIsTriedAgain(t *testing.T) {
	for _, err := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM} {
		t.Run(err.Error(), func(t *testing.T) {
			withPage(t, nil, func(s *harness) {
				s.after(time.Minute)
				old := s.wantServing("v1")
				s.set(func() { s.startErr = fmt.Errorf("start /bin/v2: %w", err) })
				s.save("v2")
				s.after(5 * time.Minute)
				if s.wantServing("v1") != old {
					t.Error("another worker serves")
				}
				s.wantMessage("cannot start the worker now: trying again")
				if n := s.startTries() - 1; n < 10 || n > 25 {
					t.Errorf("in five minutes it was tried %d times", n)
				}
				s.set(func() { s.startErr = nil })
				s.after(time.Minute)
				s.wantServing("v2")
				s.wantPhase(state.Serving)
				if n := s.crashes(); n != 0 {
					t.Errorf("it counts as %d crashes", n)
				}

				s.set(func() { s.startErr = err })
				s.wantServing("v2").end("signal: killed")
				s.after(10 * time.Second)
				s.set(func() { s.startErr = nil })
				s.after(time.Minute)
				s.wantServing("v2")
				if n := s.countMessages(putBackSaid); n != 0 {
					t.Error("the build was put back")
				}
			})
		})
	}
}

func TestAHealthCheckThatTheServerHasNoMeansForCountsForNothing(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		s.set(func() { s.unhealthy, s.probeErr = true, fmt.Errorf("dial tcp: %w", syscall.EMFILE) })
		s.after(time.Hour)
		if s.wantServing("v1") != old || s.state().Workers[0].FailedChecks != 0 {
			t.Error("the worker is taken to be unhealthy")
		}
	})
}

func TestNothingIsBuiltByItselfWhileSavesArePaused(t *testing.T) {
	for name, prepare := range map[string]func(*harness){
		"the first build missed a save": func(s *harness) { s.stale, s.buildTakes = true, time.Second },
		"another toolchain builds":      func(s *harness) { s.staleWhenLearnt, s.learnDelay = true, time.Second },
		"the disk is full":              func(s *harness) { s.content = "disk full" },
	} {
		t.Run(name, func(t *testing.T) {
			withPage(t, prepare, func(s *harness) {
				s.after(500 * time.Millisecond)
				s.page.paused.Store(true)
				s.set(func() { s.content = "v2" })
				s.after(time.Hour)
				if s.buildCount() != 1 {
					t.Errorf("there were %d builds", s.buildCount())
				}
				if !s.page.missedSaves.Load() {
					t.Error("it will not be built when saving resumes")
				}
			})
		})
	}
}
