package server

import (
	"context"

	"tqserver/internal/state"
)

// source adds commands to the store.
type source struct {
	*state.Store
	server *Server
}

var _ state.Source = source{}

// Source returns the server as front ends see it.
func (s *Server) Source() state.Source { return source{s.store, s} }

// serverCommands carry out the commands of [state.ScopeServer].
var serverCommands = map[state.Verb]func(*Server, context.Context) error{
	state.Shutdown: func(s *Server, _ context.Context) error { s.cancel(); return nil },
	state.Reload:   func(s *Server, ctx context.Context) error { return s.reloads.request(ctx) },
	state.Pause:    func(s *Server, ctx context.Context) error { return s.supervisor.SetPaused(ctx, true) },
	state.Resume:   func(s *Server, ctx context.Context) error { return s.supervisor.SetPaused(ctx, false) },
}

// Do carries out a command; see [state.Source].
func (s source) Do(ctx context.Context, cmd state.Command) error {
	spec, err := cmd.Spec()
	if err != nil {
		return err
	}
	select {
	case <-s.server.running: // Run has begun
	case <-ctx.Done():
		return ctx.Err()
	}
	if spec.Scope == state.ScopeServer {
		return serverCommands[cmd.Verb](s.server, ctx)
	}
	return s.server.supervisor.Do(ctx, cmd)
}
