package supervisor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/state"
)

// crashOf is what a worker prints that panics in a file of the project.
func crashOf(what, file string) string {
	return "before\n" + what + "\n\ngoroutine 1 [running]:\nfmt.Println()\n\t/go/src/fmt/print.go:3 +0x1\nmain.main()\n\t" + file + ":9 +0x3\n"
}

func TestWhyNothingServesIsInTheStateAndInTheLog(t *testing.T) {
	for name, c := range map[string]struct{ printed, cause string }{
		"a panic":                   {crashOf("panic: no luck", "ROOT/main.go"), "exit status 2: panic: no luck (main.go:9)"},
		"a panic in the project":    {crashOf("panic: no luck", "ROOT/lib/lib.go"), "exit status 2: panic: no luck (lib/lib.go:9)"},
		"a panic elsewhere":         {crashOf("panic: no luck", "/lib/lib.go"), "exit status 2: panic: no luck"},
		"a fatal error":             {crashOf("fatal error: stack overflow", "ROOT/main.go"), "exit status 2: fatal error: stack overflow (main.go:9)"},
		"log.Fatal":                 {"listening\ncannot reach the database\n", "exit status 2: cannot reach the database"},
		"nothing":                   {"", "exit status 2"},
		"a handler's panic, before": {crashOf("http: panic serving 127.0.0.1:1: x", "ROOT/x.go") + "done\n", "exit status 2: done"},
	} {
		t.Run(name, func(t *testing.T) {
			withPage(t, nil, func(s *harness) {
				s.after(time.Second)
				printed := strings.ReplaceAll(c.printed, "ROOT", s.page.root)
				s.set(func() { s.dies, s.ready, s.prints = 5*time.Millisecond, time.Millisecond, printed })
				old := s.wantServing("v1")
				old.end("exit status 2")
				s.after(4 * time.Second) // it is started again, and ends again
				p := s.state()
				if p.Trouble.Kind != state.TroubleCrash || p.Trouble.Text != "keeps crashing: "+c.cause || p.LastExit.Cause != c.cause || p.LastExit.PID == old.pid {
					t.Errorf("%q, %+v", p.Trouble.Text, p.LastExit)
				}
				u, _ := s.page.store.Next(t.Context(), state.Cursor{Seq: state.Beginning})
				said := ""
				for _, e := range u.Events {
					if e.Message == "the worker exited" {
						said = fmt.Sprint(e.Attrs)
					}
				}
				if !strings.Contains(said, "err="+c.cause) {
					t.Errorf("the log does not say %q but %s", c.cause, said)
				}
				s.set(func() { s.dies, s.ready = 3*time.Millisecond, -1 })
				s.after(time.Minute)
				want := "does not start: it exited before it was ready: " + c.cause
				if p := s.state(); p.Trouble.Kind != state.TroubleStart || p.Trouble.Text != want {
					t.Errorf("%q, want %q", p.Trouble.Text, want)
				}
				s.set(func() { s.dies, s.ready = -1, time.Millisecond })
				s.after(time.Minute)
				s.wantServing("v1")
				if p := s.state(); p.Trouble != (state.Trouble{}) {
					t.Errorf("while it serves: %q", p.Trouble.Text)
				}
			})
		})
	}
}

func TestAPanicOfAHandlerIsInTheLogOnce(t *testing.T) {
	t.Parallel()
	store := state.NewStore(state.Server{})
	out := newOutput(&deps{root: "/project", store: store, openLog: func(config.LogFile, string) Log { return discardLog{} }}, "/a", config.LogFile{})
	panics := func(pid int, what string) {
		out.write(pid, true, []byte(crashOf("2026/11/30 21:14:13 http: panic serving 127.0.0.1:1: "+what, "/project/pages/a/main.go")))
	}
	panics(7, "one")
	panics(7, "one")
	panics(7, "two")
	panics(8, "two")
	out.write(8, true, []byte("a line of http: panic serving \n"))
	u, _ := store.Next(t.Context(), state.Cursor{Seq: state.Beginning})
	var got []string
	for _, e := range u.Events {
		got = append(got, e.Message+fmt.Sprint(e.Attrs))
	}
	want := []string{
		"a handler panicked: the worker keeps running[page=/a pid=7 err=panic: one (pages/a/main.go:9)]",
		"a handler panicked: the worker keeps running[page=/a pid=7 err=panic: two (pages/a/main.go:9)]",
		"a handler panicked: the worker keeps running[page=/a pid=8 err=panic: two (pages/a/main.go:9)]",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}
