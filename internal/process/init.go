package process

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The first process of a container becomes the parent of all orphans in it, and
// must reap them. The server cannot do that: if it waited for any child, it would
// reap workers and compilers that other goroutines wait for. So the first process
// is a small parent that does nothing else, and the server is its child.

// reapLastFor is how long to wait for processes that the server left behind. The
// guardian may still have to restore a terminal.
const reapLastFor = time.Second

// notForwarded are signals that the runtime and the terminal send to this process
// itself.
var notForwarded = []os.Signal{syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGWINCH}

// RunInit reports whether this is the first process of its system or container. If
// so, it has run the program as a child, forwarded signals and reaped orphans until
// that child ended, and main should exit with code. Call it before main starts
// anything.
func RunInit() (code int, is bool) {
	if os.Getpid() != 1 {
		return 0, false
	}
	signals, ended := make(chan os.Signal, 16), make(chan os.Signal, 1)
	signal.Notify(signals)
	signal.Notify(ended, syscall.SIGCHLD)
	child, err := startChild()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tqserver: start the server as a child of process 1:", err)
		return 1, true
	}
	for {
		select {
		case sig := <-signals:
			forward(sig, child)
		case <-ended:
			if code, over := reap(child); over {
				if code != 0 {
					reapLast(ended)
				}
				return code, true
			}
		}
	}
}

// startChild starts this program again, in its own process group, so that it
// receives the signals of a terminal only once.
func startChild() (pid int, err error) {
	self, err := selfPath()
	if err != nil {
		return 0, err
	}
	attr := &syscall.SysProcAttr{Setpgid: true}
	if group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil && group == unix.Getpgrp() {
		attr = &syscall.SysProcAttr{Foreground: true, Ctty: 0}
	}
	return syscall.ForkExec(self, os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attr})
}

func forward(sig os.Signal, child int) {
	for _, not := range notForwarded {
		if sig == not {
			return
		}
	}
	syscall.Kill(child, sig.(syscall.Signal))
}

// reap reaps all processes that have ended. If child is among them, over is true and
// code is its exit code. A child that stops is continued at once, because no shell
// would do so.
func reap(child int) (code int, over bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG|syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil || pid == 0:
			return code, over
		case pid == child && status.Stopped():
			syscall.Kill(child, syscall.SIGCONT)
		case pid == child && status.Signaled():
			code, over = 128+int(status.Signal()), true
		case pid == child && status.Exited():
			code, over = status.ExitStatus(), true
		}
	}
}

// reapLast waits for the processes that are left: the guardian, if the server died.
func reapLast(ended <-chan os.Signal) {
	late := time.NewTimer(reapLastFor)
	defer late.Stop()
	for {
		reap(0)
		if err := syscall.Kill(-1, 0); errors.Is(err, syscall.ESRCH) {
			return // nobody is left but this process
		}
		select {
		case <-ended:
		case <-late.C:
			return
		}
	}
}
