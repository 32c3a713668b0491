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

// A server that has a screen takes its terminal out of the state in which a
// shell can use it. If it dies without a chance to put it back, by kill -9 or a
// panic in any goroutine, nobody else would: so the guardian does, and prints
// what the runtime said last, which the screen would have taken with it.

// KeepTerminal has the guardian put a terminal back into the state it is in
// now, should this process die before release is called.
func (p *Parent) KeepTerminal(f *os.File) (release func(), err error) {
	path, err := terminalPath(f)
	if err != nil {
		return nil, fmt.Errorf("name the terminal: %w", err)
	}
	mode, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	if err != nil {
		return nil, fmt.Errorf("ask the terminal for its state: %w", err)
	}
	p.guardian.setTerminal(fmt.Sprintf("%s %s", hex.EncodeToString(bytesOf(mode)), path))
	return func() { p.guardian.setTerminal("") }, nil
}

func bytesOf(mode *unix.Termios) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(mode)), unsafe.Sizeof(*mode))
}

// setTerminal tells the guardian of a terminal; none is empty.
func (g *guardian) setTerminal(terminal string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.terminal = terminal
	g.sendTerminalLocked()
}

// sendTerminalLocked also has the runtime write its last words to the guardian.
func (g *guardian) sendTerminalLocked() {
	fmt.Fprintf(g.in, "terminal %s\n", g.terminal)
	crash := g.in
	if g.terminal == "" {
		crash = nil // or its copy of the pipe would outlive ours
	}
	debug.SetCrashOutput(crash, debug.CrashOptions{})
}

// resetScreen undoes what a screen does to a terminal: the mouse, bracketed paste,
// the hidden cursor, lines that do not wrap, the alternate screen, colours.
const resetScreen = "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[?1049l\x1b[0m\r"

// maxCrashLines is how many lines of the runtime's last words are of use.
const maxCrashLines = 12

// restoreTerminal restores a terminal that was told by KeepTerminal.
func restoreTerminal(terminal string, words []string) {
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
	if len(words) == 0 {
		words = []string{"tqserver was killed; its workers were stopped too"}
	} else if len(words) > maxCrashLines {
		words = append(words[:maxCrashLines:maxCrashLines], "…")
	}
	fmt.Fprint(f, resetScreen+strings.Join(words, "\n")+"\n")
}
