//go:build unix && !linux

package process

import (
	"os"
	"syscall"
)

func selfPath() (string, error) { return os.Executable() }

func childAttr(*int) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit reaps the child: here its group is killed only afterwards, in the
// moment before the number can be given to another.
func awaitExit(child *os.Process, _ int) *os.ProcessState {
	state, _ := child.Wait()
	return state
}
