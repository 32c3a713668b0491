package process

import (
	"encoding/hex"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A server with a screen puts its terminal into a state that no shell can use. If it
// dies without restoring it, by kill -9 or a panic in any goroutine, the guardian
// does, and prints the output of the crash, which would be lost with the screen.

// KeepTerminal has the guardian restore the present state of a terminal if this
// process dies before release is called.
func (p *Parent) KeepTerminal(f *os.File) (release func(), err error) {
	path, err := terminalPath(f)
	if err != nil {
		return nil, fmt.Errorf("find the terminal's path: %w", err)
	}
	mode, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	if err != nil {
		return nil, fmt.Errorf("read the terminal's state: %w", err)
	}
	p.guardian.setTerminal(fmt.Sprintf("%s %s", hex.EncodeToString(bytesOf(mode)), path))
	return func() { p.guardian.setTerminal("") }, nil
}

func bytesOf(mode *unix.Termios) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(mode)), unsafe.Sizeof(*mode))
}

// setTerminal sets the terminal that the guardian restores; empty is none.
func (g *guardian) setTerminal(terminal string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.terminal = terminal
	g.sendTerminalLocked()
}

// sendTerminalLocked sends the terminal to the guardian. While there is one, the
// runtime writes the output of a crash to the guardian too.
func (g *guardian) sendTerminalLocked() {
	fmt.Fprintf(g.in, "terminal %s\n", g.terminal)
	crash := g.in
	if g.terminal == "" {
		crash = nil // the runtime's copy of the pipe must not outlive ours
	}
	debug.SetCrashOutput(crash, debug.CrashOptions{})
}

// resetScreen switches off what a screen switches on: the mouse, bracketed paste, the
// hidden cursor, lines that do not wrap, the alternate screen, colours.
const resetScreen = "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[?1049l\x1b[0m\r"

// maxCrashLines is how many lines of a crash are printed.
const maxCrashLines = 12

// restoreTerminal restores a terminal, as described by KeepTerminal, and prints the
// output of a crash.
func restoreTerminal(terminal string, crashOutput []string) {
	state, path, ok := strings.Cut(terminal, " ")
	if !ok {
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	var mode unix.Termios
	if n, err := hex.Decode(bytesOf(&mode), []byte(state)); err == nil && n == len(bytesOf(&mode)) {
		unix.IoctlSetTermios(int(f.Fd()), setTermios, &mode)
	}
	if len(crashOutput) == 0 {
		crashOutput = []string{"tqserver was killed; its workers were stopped too"}
	} else if len(crashOutput) > maxCrashLines {
		crashOutput = append(crashOutput[:maxCrashLines:maxCrashLines], "…")
	}
	fmt.Fprint(f, resetScreen+strings.Join(crashOutput, "\n")+"\n")
}
