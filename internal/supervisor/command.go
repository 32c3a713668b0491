package supervisor

import (
	"context"
	"errors"
	"fmt"

	"tqserver/internal/state"
)

// Do carries out a command of [state.ScopePage] on its page, or on all.
func (s *Supervisor) Do(ctx context.Context, cmd state.Command) error {
	spec, err := cmd.Spec()
	if err != nil {
		return err
	}
	var failed error
	err = s.call(ctx, func() { failed = s.do(cmd, spec) })
	return errors.Join(err, failed)
}

func (s *Supervisor) do(cmd state.Command, spec state.CommandSpec) error {
	if cmd.Page == "" {
		for _, p := range s.pages {
			p.call(func() {
				if spec.Verb != state.Restart || p.page.goal != asleep { // a page that sleeps starts a new worker anyway
					p.command(spec, 0)
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
	if !p.call(func() { err = p.command(spec, cmd.Seat) }) {
		err = fmt.Errorf("%s is being removed", cmd.Page)
	}
	return err
}

// SetPaused sets whether saves start no builds. Those that were made meanwhile are
// built when they do again.
func (s *Supervisor) SetPaused(ctx context.Context, paused bool) error {
	return s.call(ctx, func() {
		s.paused.Store(paused)
		message := "watching paused: saved changes are built when it resumes"
		if !paused {
			message = "watching resumed"
		}
		s.store.ChangeServer(state.Event{Message: message}, func(srv *state.Server) { srv.Paused = paused })
		if !paused && s.missedSaves.Swap(false) {
			s.Changed(nil)
		}
	})
}
