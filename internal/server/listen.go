package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/state"
	"tqserver/internal/wire"
)

// front is the listener and the HTTP server behind it, which has no timeouts of
// its own: an http.Server's cannot be changed while it runs.
type front struct {
	listener *wire.Listener
	server   http.Server
}

func listen(cfg config.Server, handler http.Handler, store *state.Store) (*front, error) {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(cfg.Port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d is taken by another program: end it, or set server.port to a free one", cfg.Port)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on server.port: %w", err)
	}
	return newFront(l, cfg, handler, store), nil
}

func newFront(l net.Listener, cfg config.Server, handler http.Handler, store *state.Store) *front {
	return &front{
		listener: wire.Listen(l, wireSettings(cfg), func(err error, n int) { // out of descriptors: some come back
			store.Publish(state.Event{Level: slog.LevelWarn, Message: "connections could not be accepted", Attrs: []slog.Attr{slog.Int("times", n), slog.String("err", err.Error())}})
		}),
		server: http.Server{
			Handler: handler, ConnContext: wire.ConnContext, ConnState: wire.ConnState, DisableGeneralOptionsHandler: true,
			MaxHeaderBytes: 1 << 30, // the listener knows better
			ErrorLog:       log.New(eventWriter{store}, "", 0),
		},
	}
}

func wireSettings(cfg config.Server) wire.Settings {
	return wire.Settings{
		HeaderTimeout: cfg.ReadHeaderTimeout, IdleTimeout: cfg.IdleTimeout,
		MaxHeader: cfg.MaxHeaderBytes, MaxConnections: cfg.MaxConnections,
	}
}

func (f *front) url() string {
	return fmt.Sprintf("http://localhost:%d", f.port())
}

func (f *front) port() int { return f.listener.Addr().(*net.TCPAddr).Port }

// configure puts settings in force, for the connections that there are too.
func (f *front) configure(cfg config.Server) { f.listener.Configure(wireSettings(cfg)) }

// run accepts connections until shutdown.
func (f *front) run() error {
	err := f.server.Serve(f.listener)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// freshGrace is how long after the end began the first byte of a request may
// still come. A browser opens connections that it may never use, and net/http
// waits 5 s for each.
const freshGrace = 250 * time.Millisecond

// shutdown accepts nothing further and returns when no request is under way,
// or cuts them when the context ends.
func (f *front) shutdown(ctx context.Context) {
	silent := time.AfterFunc(freshGrace, f.listener.CloseSilent)
	defer silent.Stop()
	if f.server.Shutdown(ctx) != nil {
		f.server.Close()
	}
}

// close gives the port back without having served.
func (f *front) close() { f.listener.Close() }

// eventWriter makes events of what net/http logs.
type eventWriter struct{ store *state.Store }

func (w eventWriter) Write(p []byte) (int, error) {
	w.store.Publish(state.Event{Level: slog.LevelWarn, Message: "a library warns", Attrs: []slog.Attr{slog.String("err", strings.TrimSpace(string(p)))}})
	return len(p), nil
}
