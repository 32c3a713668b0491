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

// terminalPath is not known here: there is no call for it but in libc.
func terminalPath(*os.File) (string, error) { return "", errors.ErrUnsupported }

func childAttr(*int) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// resetScheduling does nothing: the server has no policy of its own here.
func resetScheduling() {}

// awaitExit reaps the child: here its group is killed only afterwards, in the
// moment before the number can be given to another.
func awaitExit(child *os.Process, _ int) *os.ProcessState {
	state, _ := child.Wait()
	return state
}
