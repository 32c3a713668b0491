package process

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestALineThatPausesIsShownAndHandedOnWholeWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker, ours := net.Pipe()
		p := &pipe{file: ours}
		began := time.Now()
		var got []string
		note := func(what string) func([]byte) {
			return func(b []byte) {
				got = append(got, fmt.Sprintf("%s %s %q", time.Since(began), what, b))
			}
		}
		done := make(chan struct{})
		go func() { // ends with the pipe
			p.readLines(note("whole"), note("shown"))
			close(done)
		}()
		for _, step := range []struct {
			text  string
			pause time.Duration
		}{
			{"connecting ... ", 150 * time.Millisecond}, // no silence yet
			{"still ... ", time.Second},
			{"ok\nquick\n", time.Second},
			{"progress 0%\r", 50 * time.Millisecond},
			{"progress 50%\r", time.Second},
			{"progress 100%\ntail", 100 * time.Millisecond},
		} {
			worker.Write([]byte(step.text))
			time.Sleep(step.pause)
		}
		worker.Close()
		<-done
		want := []string{
			`350ms shown "connecting ... still ... "`,
			`1.15s whole "connecting ... still ... ok\nquick\n"`,
			`2.4s shown "progress 0%\rprogress 50%\r"`,
			`3.2s whole "progress 0%\rprogress 50%\rprogress 100%\n"`,
			`3.3s whole "tail\n"`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestAPipeThatIsHeldOpenIsReadNoLongerThanItsEnd has lines that pause, so that
// the reader has deadlines of its own.
func TestAPipeThatIsHeldOpenIsReadNoLongerThanItsEnd(t *testing.T) {
	for _, printed := range []string{"", "whole\n", "half"} {
		for _, pause := range []time.Duration{0, partialAfter - linger/2, partialAfter, 2 * partialAfter} {
			synctest.Test(t, func(t *testing.T) {
				worker, ours := net.Pipe()
				defer worker.Close()
				p := &pipe{file: ours}
				done := make(chan struct{})
				got := ""
				go func() { // ends with the pipe
					p.readLines(func(b []byte) { got += string(b) }, func([]byte) {})
					close(done)
				}()
				worker.Write([]byte(printed))
				time.Sleep(pause)
				began := time.Now()
				p.stopAt(began.Add(linger))
				<-done
				if took := time.Since(began); took != linger {
					t.Errorf("%q, then %v: it was read for another %v", printed, pause, took)
				}
				if printed == "half" {
					printed += "\n"
				}
				if got != printed {
					t.Errorf("%q came of %q", got, printed)
				}
			})
		}
	}
}
