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
	"sync"
	"syscall"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// front is the listener and the HTTP server behind it. The timeouts of an
// http.Server cannot be changed while it runs, so for new ones there is a new
// http.Server, and the connections of the one before stay with it.
type front struct {
	listener net.Listener
	handler  http.Handler
	store    *state.Store
	fresh    sync.Map // of net.Conn: nothing has come on them yet

	mu      sync.Mutex // guards all below
	lane    *lane      // where new connections go
	servers []*http.Server
	serving sync.WaitGroup
	idle    time.Duration
	header  time.Duration
	closed  bool
}

func listen(port int, handler http.Handler, store *state.Store) (*front, error) {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d is taken by another program: end it, or set server.port to a free one", port)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on server.port: %w", err)
	}
	return &front{listener: l, handler: handler, store: store}, nil
}

func (f *front) url() string {
	return fmt.Sprintf("http://localhost:%d", f.port())
}

func (f *front) port() int { return f.listener.Addr().(*net.TCPAddr).Port }

// configure puts timeouts in force for connections that come from now on.
func (f *front) configure(cfg config.Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.lane != nil && f.idle == cfg.IdleTimeout && f.header == cfg.ReadTimeout {
		return
	}
	f.idle, f.header = cfg.IdleTimeout, cfg.ReadTimeout
	srv := &http.Server{
		Handler: f.handler, IdleTimeout: cfg.IdleTimeout, ReadHeaderTimeout: cfg.ReadTimeout,
		ConnContext: proxy.ConnContext, ConnState: f.note,
		ErrorLog: log.New(eventWriter{f.store}, "", 0),
	}
	l := &lane{addr: f.listener.Addr(), conns: make(chan net.Conn), done: make(chan struct{})}
	f.lane = l
	f.servers = append(f.servers, srv)
	f.serving.Go(func() { srv.Serve(l) }) // ends with shutdown
}

// run accepts connections until shutdown.
func (f *front) run(cfg config.Server) error {
	f.configure(cfg)
	defer f.serving.Wait()
	pause := time.Millisecond
	for {
		c, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil { // out of descriptors: some come back
			f.store.Publish(state.Event{Level: slog.LevelWarn, Message: "a connection could not be accepted", Attrs: []slog.Attr{slog.String("err", err.Error())}})
			<-time.After(pause)
			pause = min(2*pause, time.Second)
			continue
		}
		pause = time.Millisecond
		f.mu.Lock()
		l := f.lane
		f.mu.Unlock()
		select {
		case l.conns <- c:
		case <-l.done:
			c.Close()
		}
	}
}

// shutdown accepts nothing further and returns when no request is under way,
// or cuts them when the context ends.
func (f *front) shutdown(ctx context.Context) {
	f.listener.Close()
	f.mu.Lock()
	f.closed = true
	servers := f.servers
	f.mu.Unlock()
	var ending sync.WaitGroup
	for _, srv := range servers {
		ending.Go(func() {
			if srv.Shutdown(ctx) != nil {
				srv.Close()
			}
		})
	}
	silent := time.AfterFunc(freshGrace, f.closeFresh)
	defer silent.Stop()
	ending.Wait()
}

// freshGrace is how long after the end began the first byte of a request may
// still come. A browser opens connections that it may never use, and net/http
// waits 5 s for each.
const freshGrace = 250 * time.Millisecond

func (f *front) note(c net.Conn, s http.ConnState) {
	if s == http.StateNew {
		f.fresh.Store(c, nil)
	} else {
		f.fresh.Delete(c)
	}
}

func (f *front) closeFresh() {
	for c := range f.fresh.Range {
		c.(net.Conn).Close()
	}
}

// close gives the port back without having served.
func (f *front) close() { f.listener.Close() }

// lane is the listener of one http.Server: the connections it is handed.
type lane struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *lane) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *lane) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *lane) Addr() net.Addr { return l.addr }

// eventWriter makes events of what net/http logs.
type eventWriter struct{ store *state.Store }

func (w eventWriter) Write(p []byte) (int, error) {
	w.store.Publish(state.Event{Level: slog.LevelWarn, Message: "net/http", Attrs: []slog.Attr{slog.String("err", strings.TrimSpace(string(p)))}})
	return len(p), nil
}
