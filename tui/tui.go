// Package tui is the terminal: a screen that shows every page and its errors, and keys
// for commands. It reads and steers the server through a [state.Source] only.
//
// There is one model, with a part for each pane. Update changes it and does no I/O but
// to read the clock; what takes time is a command of Bubble Tea. View draws the model
// and changes nothing. One command waits for the next update of the source, at most
// once a frame, so a page that floods the log costs no more than another. If nothing
// happens, nothing is written. All goroutines are Bubble Tea's, and have ended when
// [Run] returns.
package tui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tqserver/internal/state"
	"tqserver/tui/calm"
)

var _ = calm.Restore()

// Options are the options of the screen.
type Options struct {
	Rebindings []Rebinding
}

// Check returns an error with a line for each mistake in the options.
func (o Options) Check() error {
	_, err := newKeymap(o.Rebindings)
	return err
}

// Run shows the screen on the terminal of stdin and stdout until the context ends or
// the user quits, and restores the terminal. It reports whether the server must end at
// once, without waiting for requests. The error says why the screen failed.
func Run(ctx context.Context, src state.Source, opts Options) (atOnce bool, err error) {
	keys, err := newKeymap(opts.Rebindings)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fps := 30
	if os.Getenv("SSH_CONNECTION") != "" {
		fps = 10
	}
	out := &terminal{File: os.Stdout}
	m := newModel(ctx, src, keys, lookOf(os.Getenv), time.Second/time.Duration(fps), out)
	var p *tea.Program
	in := inputOf(os.Stdin, func() { p.Send(tea.KeyMsg{Type: tea.KeyEsc}) })
	p = tea.NewProgram(m, tea.WithInput(in), tea.WithOutput(out), tea.WithFilter(sized), tea.WithAltScreen(), tea.WithFPS(fps), tea.WithoutSignalHandler())
	if _, err = p.Run(); errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		err = nil
	}
	if err = cmp.Or(err, m.failure); err != nil {
		err = fmt.Errorf("the screen failed: %w", err)
	}
	return m.atOnce, err
}

// sized gives a terminal that does not know its size the usual one.
func sized(_ tea.Model, msg tea.Msg) tea.Msg {
	if size, ok := msg.(tea.WindowSizeMsg); ok {
		if size.Width <= 0 {
			size.Width = 80
		}
		if size.Height <= 0 {
			size.Height = 24
		}
		return size
	}
	return msg
}

// lookOf returns the look for the terminal that the environment describes.
func lookOf(env func(string) string) look {
	locale := ""
	for _, key := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = env(key); locale != "" {
			break
		}
	}
	locale = strings.ToUpper(strings.ReplaceAll(locale, "-", ""))
	return newLook(env("NO_COLOR") == "", !strings.Contains(locale, "UTF8") || env("TERM") == "linux" || env("TQ_ASCII") == "1")
}
