// Package tui is the terminal: a screen that shows every page, what broke and
// why, and keys to do something about it. It is a client of [state.Source] and
// of nothing else of ours.
//
// There is one model. Update changes it and does no I/O, View draws it and
// asks no clock; what takes time is a command. State comes in through one
// command that waits for the next update, at most once a frame, so that a page
// which prints as fast as it can costs no more than one that does not. Where
// nothing happens nothing is written. The goroutines are Bubble Tea's, and
// have ended when Run returns.
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

// Options is how the screen is to be.
type Options struct {
	Rebindings []Rebinding
}

// Check returns what is wrong with the options, line by line.
func (o Options) Check() error {
	_, err := newKeymap(o.Rebindings)
	return err
}

// Run shows the screen on the terminal that stdin and stdout are until the
// context ends or its user has quit, and leaves the terminal as it was. It
// reports whether the server is to end at once, without waiting for anything.
// The error says why the screen could not go on.
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

// sized gives a terminal that does not know its size one that most have.
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

// lookOf is what the environment says of the terminal.
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
