package server

import (
	"context"
	"errors"
	"fmt"
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

// httpServer is the server for clients.
type httpServer struct {
	*wire.Server
	handler http.Handler
	store   *state.Store
}

func listen(cfg config.Server, handler http.Handler, store *state.Store) (*httpServer, error) {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(cfg.Port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("another program uses port %d: stop it, or set server.port to a free port", cfg.Port)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on server.port: %w", err)
	}
	return newHTTPServer(l, cfg, handler, store), nil
}

func newHTTPServer(l net.Listener, cfg config.Server, handler http.Handler, store *state.Store) *httpServer {
	return &httpServer{
		Server: wire.Listen(l, wireSettings(cfg), func(err error, n int) { // such as: out of descriptors
			store.Publish(state.Event{Level: state.LevelWarn, Message: "cannot accept connections", Attrs: []state.Attr{state.Int("times", n), state.String("err", err.Error())}})
		}),
		handler: handler, store: store,
	}
}

func wireSettings(cfg config.Server) wire.Settings {
	return wire.Settings{
		HeaderTimeout: cfg.ReadHeaderTimeout, IdleTimeout: cfg.IdleTimeout,
		MaxHeader: cfg.MaxHeaderBytes, MaxConnections: cfg.MaxConnections,
	}
}

func (f *httpServer) url() string {
	return fmt.Sprintf("http://localhost:%d", f.port())
}

func (f *httpServer) port() int { return f.Addr().(*net.TCPAddr).Port }

// configure changes the settings, for open connections too.
func (f *httpServer) configure(cfg config.Server) { f.Configure(wireSettings(cfg)) }

// run serves clients until Shutdown or Close.
func (f *httpServer) run(ctx context.Context) error {
	return f.Serve(ctx, f.handler, func(err error) {
		f.store.Publish(state.Event{Level: state.LevelError, Message: "internal error while serving a request: please report it", Attrs: []state.Attr{state.String("err", err.Error())}})
	})
}

// firstByteGrace is how long after the start of a shutdown the first byte of a request
// may still arrive on a new connection. Browsers open connections that they may never
// use.
const firstByteGrace = 250 * time.Millisecond

// shutdown accepts no more connections and returns when no request is under way. When
// the context ends, it cuts those that are.
func (f *httpServer) shutdown(ctx context.Context) {
	silent := time.AfterFunc(firstByteGrace, f.CloseUnused)
	defer silent.Stop()
	if f.Shutdown(ctx) != nil {
		f.Close()
	}
}

// libraryLog makes events of the lines that libraries log.
type libraryLog struct{ store *state.Store }

func (w libraryLog) Write(p []byte) (int, error) {
	w.store.Publish(state.Event{Level: state.LevelWarn, Message: "a library reports a problem", Attrs: []state.Attr{state.String("err", strings.TrimSpace(string(p)))}})
	return len(p), nil
}
