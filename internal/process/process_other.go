//go:build unix && !linux

package process

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func selfPath() (string, error) { return os.Executable() }

const getTermios, setTermios = unix.TIOCGETA, unix.TIOCSETA

// terminalPath is not supported here: only libc has a call for it.
func terminalPath(*os.File) (string, error) { return "", errors.ErrUnsupported }

func childAttr(*int) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// resetScheduling does nothing: the server does not change its policy here.
func resetScheduling() {}

// awaitExit waits for the child and reaps it. Its group is killed only after that,
// when the number could already be reused.
func awaitExit(child *os.Process, _ int) *os.ProcessState {
	state, _ := child.Wait()
	return state
}
