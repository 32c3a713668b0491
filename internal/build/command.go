package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// output is what the go command printed.
type output struct{ stdout, stderr bytes.Buffer }

// exitError says that the go command ran and failed.
type exitError struct{ *exec.ExitError }

// run runs the go command in dir.
func (b *Builder) run(ctx context.Context, env environment, dir string, args ...string) (out output, err error) {
	work, err := os.MkdirTemp(b.dir, "work-")
	if err != nil {
		return out, fmt.Errorf("make a work folder for the go command: %w", err)
	}
	defer os.RemoveAll(work)
	cmd, err := b.command(ctx, env, dir, work, args...)
	if err != nil {
		return out, err
	}
	cmd.Stdout, cmd.Stderr = &out.stdout, &out.stderr
	return out, b.runGroup(cmd)
}

// command returns a go command in dir. It gets a work folder that the caller
// removes, because a command that is killed leaves its own behind.
func (b *Builder) command(ctx context.Context, env environment, dir, work string, args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return nil, ErrNoGo
	}
	if len(env.cacheEnv) > 0 {
		b.notifyOnce(fmt.Sprintf("the go command has no home folder for its caches and keeps them in workers.temp_dir: set HOME, or GOCACHE and GOMODCACHE, to choose another place (%s)", strings.Join(env.cacheEnv, " ")))
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(env.environ(), "PWD="+dir, "GOTMPDIR="+work)
	return cmd, nil
}

// runGroup runs a command in a process group of its own. If the command's context
// ends, the whole group is killed and reaped before runGroup returns.
func (b *Builder) runGroup(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a tool outside the group may still hold our pipe
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the compiler: %w", err)
	}
	if b.opts.Guard != nil {
		defer b.opts.Guard(cmd.Process.Pid)()
	}
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it succeeded; a tool that is left holds our pipe (golang/go#23019)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = &exitError{exit}
	}
	return err
}

// text returns the go command's messages: with -json each is an object on standard
// output (go help buildjson), except errors from before the build began.
func (o *output) text() string {
	var text strings.Builder
	for line := range bytes.Lines(o.stdout.Bytes()) {
		var event struct{ Output string }
		if json.Unmarshal(line, &event) != nil {
			text.Write(line)
			continue
		}
		text.WriteString(event.Output)
	}
	text.Write(o.stderr.Bytes())
	return text.String()
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
