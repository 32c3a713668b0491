package supervisor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tqserver/internal/state"
)

const (
	ownWriteSaid = "the page writes a file of its own build"
	stampFile    = "/project/pages/index/stamp.txt"
)

func TestAPageThatWritesItsOwnInputsIsNotBuiltForEver(t *testing.T) {
	for name, test := range map[string]struct {
		files []string
		at    time.Duration
	}{
		"as it starts":       {[]string{stampFile}, 0},
		"before it is ready": {[]string{stampFile}, 3 * time.Millisecond},
		"when it serves":     {[]string{stampFile}, 50 * time.Millisecond},
		"by a slow helper":   {[]string{stampFile}, time.Second},
		"several":            {[]string{"/project/pages/index/a.txt", "/project/pages/index/b.go", stampFile}, 120 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			withPage(t, func(s *harness) { s.writes, s.writesAt = test.files, test.at }, func(s *harness) {
				s.after(15 * time.Second)
				if n := s.startCount(); n > 8 {
					t.Errorf("it was started %d times", n)
				}
				if n := s.countMessages(ownWriteSaid); n != 1 {
					t.Fatalf("it was told of %d times: %q", n, s.messages())
				}
				s.wantPhase(state.Failed)
				if p := s.state(); !strings.HasPrefix(p.Trouble.Text, test.files[0]+": ") || len(p.Build.Problems) != 1 || p.Build.Problems[0].File != test.files[0] || p.ServingBuild == 0 {
					t.Errorf("the page shows %+v", p)
				}
				settled := s.startCount()
				s.after(time.Hour)
				if s.startCount() != settled {
					t.Fatalf("it goes on: %d starts after %d", s.startCount(), settled)
				}
				for name, again := range map[string]func(){
					"a save":    func() { s.page.notifyChange(change{file: "/project/pages/index/main.go", at: time.Now()}) },
					"a rebuild": func() { s.command(state.Rebuild) },
					"a save of the same file": func() {
						s.set(func() { s.content += "x" })
						s.page.notifyChange(change{file: stampFile, at: time.Now()})
					},
				} {
					before, built := s.startCount(), s.buildCount()
					again()
					s.after(time.Minute)
					if n := s.startCount() - before; n < 1 || n > 2 || s.buildCount() == built {
						t.Errorf("%s had %d starts", name, n)
					}
					s.wantPhase(state.Failed)
				}
				s.set(func() { s.writes = nil })
				s.save("mended")
				s.after(5 * time.Second)
				s.wantServing("mended")
				s.wantPhase(state.Serving)
			})
		})
	}
}

func TestWhoSavesOftenIsNotTakenForThePage(t *testing.T) {
	saved := 0
	save := func(s *harness) {
		saved++
		s.save(fmt.Sprint("v", saved+1))
	}
	steady := func(pace time.Duration) func(*harness) {
		return func(s *harness) {
			for range 200 {
				save(s)
				s.after(pace)
			}
		}
	}
	for name, play := range map[string]func(*harness){
		"every 100 ms": steady(100 * time.Millisecond),
		"every 210 ms": steady(210 * time.Millisecond), // a build takes 200
		"every 230 ms": steady(230 * time.Millisecond),
		"every 300 ms": steady(300 * time.Millisecond),
		"every 600 ms": steady(600 * time.Millisecond),
		"every second": steady(time.Second),
		"every 3 s":    steady(3 * time.Second),
		"as it starts to serve": func(s *harness) {
			for range 200 {
				save(s)
				for range 1000 {
					if s.shows() == fmt.Sprint("/bin/v", saved+1) {
						break
					}
					s.after(2 * time.Millisecond)
				}
			}
		},
	} {
		for _, ready := range []time.Duration{5 * time.Millisecond, 700 * time.Millisecond} {
			t.Run(fmt.Sprint(name, ", ready after ", ready), func(t *testing.T) {
				withPage(t, func(s *harness) { s.ready = ready }, func(s *harness) {
					s.after(time.Minute)
					play(s)
					s.after(5 * time.Second)
					s.wantServing(fmt.Sprint("v", saved+1))
					if n := s.countMessages(ownWriteSaid); n != 0 {
						t.Errorf("it was taken for the page %d times", n)
					}
				})
			})
		}
	}
}

// shows is the binary that serves.
func (s *harness) shows() string {
	for _, w := range s.state().Workers {
		if w.Role == state.RoleServing {
			return w.Binary
		}
	}
	return ""
}
