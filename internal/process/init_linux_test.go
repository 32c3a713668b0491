package process

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startAsInit starts this program as the first process of a namespace.
func startAsInit(t *testing.T, role string) (cmd *exec.Cmd, out *bufio.Reader) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = environ(role)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skip("it takes root to make a namespace of processes")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, bufio.NewReader(pipe)
}

// childrenOf lists the children of a process with their states.
func childrenOf(pid int) (states []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if f[1] == strconv.Itoa(pid) {
			states = append(states, f[0])
		}
	}
	return states
}

func TestTheFirstProcessReapsOrphansAndNobodyElse(t *testing.T) {
	cmd, out := startAsInit(t, "first process's child")
	line, err := out.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "pid ") || line == "pid 1\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		states := childrenOf(cmd.Process.Pid)
		if len(states) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("its children are %q", states)
		}
		<-time.After(10 * time.Millisecond)
	}
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if line, err := out.ReadString('\n'); line != sig.String()+"\n" {
			t.Errorf("%v came as %q, %v", sig, line, err)
		}
	}
	rest, _ := io.ReadAll(out)
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 5 || len(rest) > 0 {
		t.Errorf("it ended with %v, and said %q", cmd.ProcessState, rest)
	}
}

func TestTheFirstProcessEndsAsItsChildDoes(t *testing.T) {
	for role, want := range map[string]int{"exit 3": 3, "killed": 128 + 9, "print": 0} {
		cmd, out := startAsInit(t, role)
		io.ReadAll(out)
		if cmd.Wait(); cmd.ProcessState.ExitCode() != want {
			t.Errorf("%s: it ended with %v", role, cmd.ProcessState)
		}
	}
}

func TestTheFirstProcessDoesNotLeaveItsChildStopped(t *testing.T) {
	cmd, out := startAsInit(t, "stops")
	said, _ := io.ReadAll(out)
	if cmd.Wait(); string(said) != "going on\n" {
		t.Errorf("it said %q, and ended with %v", said, cmd.ProcessState)
	}
}
