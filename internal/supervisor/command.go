package supervisor

import (
	"context"
	"errors"
	"fmt"

	"tqserver/internal/state"
)

// Do carries out a command for pages, or returns an error that says why not.
func (s *Supervisor) Do(ctx context.Context, cmd state.Command) error {
	var failed error
	err := s.call(ctx, func() { failed = s.do(cmd) })
	return errors.Join(err, failed)
}

func (s *Supervisor) do(cmd state.Command) error {
	switch cmd.Verb {
	case state.Pause, state.Resume:
		paused := cmd.Verb == state.Pause
		s.paused.Store(paused)
		message := "watching paused: saved changes are built when it resumes"
		if !paused {
			message = "watching resumed"
		}
		s.store.ChangeServer(state.Event{Message: message}, func(srv *state.Server) { srv.Paused = paused })
		if !paused && s.missedSaves.Swap(false) {
			s.Changed(nil)
		}
		return nil
	}
	if cmd.Page == "" {
		for _, p := range s.pages {
			p.call(func() {
				if cmd.Verb != state.Restart || p.page.goal != asleep { // a page that sleeps starts a new worker anyway
					p.command(cmd.Verb)
				}
			})
		}
		return nil
	}
	p := s.pages[cmd.Page]
	if p == nil {
		return fmt.Errorf("there is no page %s", cmd.Page)
	}
	var err error
	if !p.call(func() { err = p.command(cmd.Verb) }) {
		err = fmt.Errorf("%s is being removed", cmd.Page)
	}
	return err
}
