package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// picture is the content of a terminal.
type picture struct {
	plain    string // without the blanks at the ends of lines
	coloured string
}

// terminal is a tmux server of its own, with the program in it.
type terminal struct {
	ctx    context.Context
	socket string
	path   string // PATH of the program
}

// openTerminal starts the program in a project, on a terminal with a name of
// its own: a tmux server may take a while to let go of its socket. The program
// gets no more of our environment than it needs, so that no picture shows anything of
// this machine.
func openTerminal(ctx context.Context, s *shop, program, name string) (*terminal, error) {
	compiler, err := exec.LookPath("go")
	if err != nil {
		return nil, err
	}
	t := &terminal{ctx, filepath.Join(filepath.Dir(program), name), filepath.Dir(compiler) + ":/usr/local/bin:/usr/bin:/bin"}
	const shell = `unset SHELL TMUX TMUX_PANE TERM_PROGRAM TERM_PROGRAM_VERSION; "$0"; echo "exit $?"; exec sleep 1000`
	_, err = t.tmux("new-session", "-d", "-x", "120", "-y", "35", "-c", s.dir, "--", "sh", "-c", shell, program)
	return t, err
}

func (t *terminal) tmux(args ...string) (string, error) {
	cmd := exec.CommandContext(t.ctx, "tmux", append([]string{"-f", "/dev/null", "-S", t.socket, "-u"}, args...)...)
	cmd.Env = []string{"LC_ALL=C.UTF-8", "TERM=xterm-256color", "PATH=" + t.path}
	for _, key := range []string{"HOME", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS"} {
		if value, ok := os.LookupEnv(key); ok {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
	}
	return string(out), err
}

func (t *terminal) press(keys ...string) error {
	for _, key := range keys {
		if _, err := t.tmux("send-keys", "-t", ":", key); err != nil {
			return err
		}
	}
	return nil
}

// seeTimeout is how long waitFor waits.
const seeTimeout = 2 * time.Minute

// waitFor waits until the terminal shows a pattern twice in a row, and returns what
// it shows then.
func (t *terminal) waitFor(pattern string) (picture, error) {
	want := regexp.MustCompile(`(?m)` + pattern)
	late := time.After(seeTimeout)
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	var p picture
	for seen := 0; seen < 2; {
		select {
		case <-t.ctx.Done():
			return p, t.ctx.Err()
		case <-late:
			return p, fmt.Errorf("wait for %s: the terminal shows\n%s", pattern, p.plain)
		case <-look.C:
		}
		coloured, err := t.tmux("capture-pane", "-e", "-N", "-p", "-t", ":")
		if err != nil {
			return p, err
		}
		p = picture{trimmed(escape().ReplaceAllString(coloured, "")), coloured}
		if want.MatchString(p.plain) {
			seen++
		} else {
			seen = 0
		}
	}
	return p, nil
}

// quit ends the program as its user does, and waits for it.
func (t *terminal) quit() error {
	if err := t.press("q"); err != nil {
		return err
	}
	p, err := t.waitFor(`^exit 0$|under way`)
	if err != nil || strings.Contains(p.plain, "exit 0") {
		return err
	}
	if err = t.press("y"); err == nil {
		_, err = t.waitFor(`^exit 0$`)
	}
	return err
}

// close ends the terminal and what is in it. The program ends with its
// terminal.
func (t *terminal) close() {
	t.ctx = context.WithoutCancel(t.ctx)
	t.tmux("kill-server")
}

func escape() *regexp.Regexp { return regexp.MustCompile("\x1b\\[[0-9;]*m") }

// trimmed returns text without blanks at the ends of lines and empty lines at its
// end.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}
