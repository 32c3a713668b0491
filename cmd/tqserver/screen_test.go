package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// screenCommands drive the real program on a terminal, which is tmux:
//
//	screen COLSxROWS [FLAG...]   start the server, and wait for its first frame; ! do not wait;
//	                             what is written to the terminal goes to the file written too
//	keys KEY...                  press keys, as tmux names them
//	answer TEXT                  have the terminal send text, quoted as Go quotes it
//	see PATTERN                  wait until the screen shows it; ! until it does not
//	picture                      print the screen
//	resize COLSxROWS             make the terminal larger or smaller
//	resizes N                    do that N times, to random sizes
//	closed CODE                  wait for the end: its code, the terminal as it was, nobody left
//	hangup                       close the terminal: nobody is left
var screenCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"screen": openScreen, "keys": pressKeys, "answer": sendAnswer, "see": see, "picture": picture, "resize": resize, "resizes": resizes, "closed": closed, "hangup": hangUp,
}

// tmux runs a tmux command on the script's own tmux server. PATH reaches what
// runs in it only by way of the command's own.
func (w *world) tmux(ts *testscript.TestScript, args ...string) (string, error) {
	cmd := exec.Command("tmux", append([]string{"-f", "/dev/null", "-S", w.socket, "-u"}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
	}
	return string(out), err
}

// An interactive shell runs the server, as a job in the foreground, and is in
// another folder than the project's. It can tell how the server ended and
// whether the terminal is what it was. SCREEN_TERM is its TERM, and it runs
// SCREEN_FIRST before.
const (
	start = `export TERM="$SCREEN_TERM"; eval "$SCREEN_FIRST"; before=$(stty -g); (cd "$WORK" && exec "$TOOLS/tqserver" $FLAGS)`
	tell  = `echo "exit $? tty $([ "$(stty -g)" = "$before" ] && echo same)"`
)

func openScreen(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	size := strings.Split(args[0], "x")
	dir, err := os.MkdirTemp("", "tqtmux") // a socket's path must be short
	ts.Check(err)
	w.socket = filepath.Join(dir, "s")
	command := []string{"new-session", "-d", "-x", size[0], "-y", size[1], "-c", "/"}
	for _, key := range []string{"HOME", "GOCACHE", "GOMODCACHE", "GORACE", "WORK", "TOOLS", "TQ_EDITOR", "NO_COLOR", "TQ_ASCII", "SCREEN_FIRST", "SCREEN_PANICS"} {
		if value := ts.Getenv(key); value != "" {
			command = append(command, "-e", key+"="+value)
		}
	}
	_, err = w.tmux(ts, append(command, "-e", "FLAGS="+strings.Join(args[1:], " "), "-e", "SCREEN_TERM="+ts.Getenv("SCREEN_TERM"), "-e", "LC_ALL=C.UTF-8", "-e", "ENV=", "-e", "PS1=$ ", "--", "sh", "-i")...)
	ts.Check(err)
	w.see(ts, `^(\^C)?(\$ ?)+$`, false)
	_, err = w.tmux(ts, "pipe-pane", "-t", ":", "cat >"+ts.MkAbs("written"))
	ts.Check(err)
	w.typeLine(ts, start)
	if neg {
		return
	}
	w.see(ts, `enlarge to|serving| up `, false)
	w.until(ts, "the server's process is known", func() error {
		pid, err := serverIn(w.work)
		ts.Setenv("SERVER", strconv.Itoa(pid))
		return err
	})
}

// serverIn finds the server among the processes in a project's folder.
func serverIn(project string) (pid int, err error) {
	cwds, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, cwd := range cwds {
		if target, err := os.Readlink(cwd); err == nil && target == project {
			if exe, _ := os.Readlink(filepath.Join(filepath.Dir(cwd), "exe")); filepath.Base(exe) == "tqserver" {
				return strconv.Atoi(filepath.Base(filepath.Dir(cwd)))
			}
		}
	}
	return 0, errors.New("no process of it")
}

func (w *world) typeLine(ts *testscript.TestScript, line string) {
	_, err := w.tmux(ts, "send-keys", "-t", ":", "-l", line+"\n")
	ts.Check(err)
}

func (w *world) closeScreen() {
	if w.socket != "" {
		exec.Command("tmux", "-S", w.socket, "kill-server").Run()
		os.RemoveAll(filepath.Dir(w.socket))
		w.socket = ""
	}
}

func pressKeys(ts *testscript.TestScript, neg bool, args []string) {
	for _, key := range args {
		_, err := of(ts).tmux(ts, "send-keys", "-t", ":", key)
		ts.Check(err)
	}
}

func sendAnswer(ts *testscript.TestScript, neg bool, args []string) {
	text, err := strconv.Unquote(`"` + args[0] + `"`)
	ts.Check(err)
	command := []string{"send-keys", "-t", ":", "-H"}
	for _, b := range []byte(text) {
		command = append(command, fmt.Sprintf("%02x", b))
	}
	_, err = of(ts).tmux(ts, command...)
	ts.Check(err)
}

func see(ts *testscript.TestScript, neg bool, args []string) {
	of(ts).see(ts, args[0], neg)
}

func (w *world) see(ts *testscript.TestScript, pattern string, neg bool) {
	want := regexp.MustCompile(`(?m)` + pattern)
	w.until(ts, "the screen shows "+pattern, func() error {
		shown, err := w.tmux(ts, "capture-pane", "-p", "-t", ":")
		if err == nil && want.MatchString(shown) == neg {
			err = fmt.Errorf("it shows (not: %v)\n%s", neg, shown)
		}
		return err
	})
}

func picture(ts *testscript.TestScript, neg bool, args []string) {
	shown, err := of(ts).tmux(ts, "capture-pane", "-p", "-t", ":")
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), shown)
}

func resize(ts *testscript.TestScript, neg bool, args []string) {
	cols, rows, _ := strings.Cut(args[0], "x")
	_, err := of(ts).tmux(ts, "resize-window", "-t", ":", "-x", cols, "-y", rows)
	ts.Check(err)
}

func resizes(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for range n {
		resize(ts, false, []string{fmt.Sprintf("%dx%d", 1+rand.IntN(200), 1+rand.IntN(60))})
	}
}

func closed(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	w.see(ts, `^(\^C)?(\$ ?)+$`, false)
	w.typeLine(ts, tell)
	w.see(ts, `^(\$ )*exit `+args[0]+" tty same$", false) // after a prompt if it was typed before that came
	left, err := w.tmux(ts, "display-message", "-p", "-t", ":", "#{alternate_on} #{cursor_flag}")
	ts.Check(err)
	if left != "0 1\n" {
		ts.Fatalf("the terminal is left with alternate screen and cursor %q, want 0 1", left)
	}
	w.until(ts, "the workers and their children are gone", func() error { return wantNobody(ts) })
	w.closeScreen()
}

// hangUp closes the terminal, as one closes a window.
func hangUp(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	w.closeScreen()
	w.until(ts, "the server and its workers are gone", func() error { return wantNobody(ts) })
}
