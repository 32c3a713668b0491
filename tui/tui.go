// Package tui is the terminal: a screen that shows every page, what broke and
// why, and keys to do something about it. It is a client of [state.Source] and
// of nothing else of ours.
package tui

import (
	"context"
	"errors"

	"tqserver/internal/state"
)

// Run is not there yet: it returns [errors.ErrUnsupported] at once, and the
// server shows plain lines.
func Run(context.Context, state.Source) error { return errors.ErrUnsupported }
