package process

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func selfPath() (string, error) { return "/proc/self/exe", nil }

const getTermios, setTermios = unix.TCGETS, unix.TCSETS

// terminalPath returns the path of a terminal, for a process that did not inherit it.
func terminalPath(f *os.File) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

func childAttr(pidfd *int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: pidfd}
}

// resetScheduling gives this thread, and the processes that it starts, the ordinary
// scheduling policy instead of the server's own, so that workers respond at once.
func resetScheduling() {
	if attr, err := unix.SchedGetAttr(0, 0); err == nil && attr.Policy == unix.SCHED_BATCH {
		attr.Policy, attr.Runtime = unix.SCHED_NORMAL, 0
		unix.SchedSetAttr(0, attr, 0)
	}
}

// awaitExit waits until the child has ended and returns nil; the caller must reap
// it. With a descriptor of the process it waits in the poller, which needs no
// thread.
func awaitExit(child *os.Process, pidfd int) *os.ProcessState {
	if pidfd >= 0 {
		unix.SetNonblock(pidfd, true)
		f := os.NewFile(uintptr(pidfd), "pidfd")
		defer f.Close()
		if conn, err := f.SyscallConn(); err == nil {
			var info unix.Siginfo
			var failed error
			conn.Read(func(fd uintptr) bool {
				failed = unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
				return failed != nil && failed != unix.EINTR || info.Signo != 0
			})
			if failed == nil && info.Signo != 0 {
				return nil
			}
		}
	}
	for unix.Waitid(unix.P_PID, child.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	return nil
}
