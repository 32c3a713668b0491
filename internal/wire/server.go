package wire

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Settings limit what connections may cost.
type Settings struct {
	HeaderTimeout  time.Duration // from the first byte of a header to its end
	IdleTimeout    time.Duration // between requests; 0 means none
	MaxHeader      int           // bytes of a header with its request line
	MaxConnections int           // 0 means as many as the file limit allows, less a reserve
}

// Server serves the clients of a listener.
type Server struct {
	tcp             net.Listener
	onError         func(err error, n int)
	reported        time.Time // the last time; accept uses it, and the next field
	unreported      int
	settings        atomic.Pointer[Settings]
	capacityAwaited atomic.Bool   // somebody waits for capacity
	endWriteTimeout time.Duration // for the end of a response
	checks          disconnectChecks

	mu       sync.Mutex // guards the fields below
	conns    map[*Conn]struct{}
	idle     idleQueue
	capacity chan struct{} // closed when a connection closes or becomes idle; nil if nobody waits
	closing  chan struct{} // closed when the server accepts no more connections
}

// Listen returns a server for the connections of a TCP listener. The server calls
// onError about errors after which it goes on accepting, at most once a second,
// with the latest error and the number of errors since the last call.
func Listen(tcp net.Listener, s Settings, onError func(err error, n int)) *Server {
	srv := &Server{tcp: tcp, onError: onError, conns: make(map[*Conn]struct{}), closing: make(chan struct{}), endWriteTimeout: endWriteTimeout}
	srv.Configure(s)
	return srv
}

// Configure changes the settings, for existing connections too.
func (srv *Server) Configure(s Settings) {
	if s.MaxConnections <= 0 {
		s.MaxConnections = defaultMaxConnections()
	}
	srv.settings.Store(&s)
}

// Serve lets h respond to requests until Shutdown or Close is called. It then waits
// for all handlers and returns nil. It must be called only once.
//
// A handler finds what it would find behind net/http's server without HTTP/2 and
// TLS, with one exception: the context of a request, a descendant of ctx, ends with
// the connection, not with the handler. If a handler panics, its response is cut
// short, and Serve calls onPanic with the stack, unless the value is
// [http.ErrAbortHandler].
func (srv *Server) Serve(ctx context.Context, h http.Handler, onPanic func(error)) error {
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		c, err := srv.accept()
		if err != nil {
			if srv.isClosing() {
				return nil
			}
			return err
		}
		serving.Go(func() { c.serve(ctx, h, onPanic) }) // returns when the connection ends
	}
}

// Shutdown accepts no more connections and closes those that wait for a request. It
// returns when no request is active, or with the error of ctx when ctx ends first.
// Hijacked connections stay open.
func (srv *Server) Shutdown(ctx context.Context) error {
	srv.stopAccepting()
	for {
		freed := srv.capacityFreed()
		if !srv.closeIdle() {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close accepts no more connections and closes all that exist.
func (srv *Server) Close() {
	srv.stopAccepting()
	for _, c := range srv.connsWhere(func(*Conn) bool { return true }) {
		c.Close()
	}
}

func (srv *Server) stopAccepting() {
	srv.mu.Lock()
	if !srv.isClosing() {
		close(srv.closing)
	}
	srv.mu.Unlock()
	srv.tcp.Close()
}

// isClosing reports whether the server accepts no more connections.
func (srv *Server) isClosing() bool {
	select {
	case <-srv.closing:
		return true
	default:
		return false
	}
}

// closeIdle closes the connections that wait for another request, and reports
// whether others have requests.
func (srv *Server) closeIdle() (busy bool) {
	for _, c := range srv.connsWhere(func(c *Conn) bool { return c.stage.Load() != stageHijacked }) {
		if c.stage.Load() == stageIdle && c.claimIdle() {
			c.Close()
		} else {
			busy = true
		}
	}
	return busy
}

// CloseUnused closes the connections that have sent no request. A browser opens
// some that it may never use.
func (srv *Server) CloseUnused() {
	for _, c := range srv.connsWhere(func(c *Conn) bool { return c.stage.Load() == stageNew }) {
		if c.claimIdle() {
			c.Close()
		}
	}
}

func (srv *Server) connsWhere(match func(*Conn) bool) (all []*Conn) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for c := range srv.conns {
		if match(c) {
			all = append(all, c)
		}
	}
	return all
}

// Connections returns the number of connections.
func (srv *Server) Connections() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return len(srv.conns)
}

// Addr returns the address of the listener.
func (srv *Server) Addr() net.Addr { return srv.tcp.Addr() }

// serve serves the requests of a connection one after the other.
func (c *Conn) serve(ctx context.Context, h http.Handler, onPanic func(error)) {
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, c.LocalAddr())
	ctx, cancel := context.WithCancel(context.WithValue(ctx, connKey{}, c))
	defer cancel()
	defer func() {
		if v := recover(); v != nil { // a request caused it: response.serve recovers the panics of handlers
			onPanic(fmt.Errorf("panic while reading from %s: %v\n%s", c.remote, v, debug.Stack()))
			c.Close()
		}
	}()
	c.setContext(ctx, cancel)
	for c.awaitRequest() == nil && c.serveRequest(h, onPanic) {
	}
	switch {
	case c.stage.Load() == stageHijacked: // the handler closes it
		return
	case c.resetOnClose:
		c.setReset()
	case c.refusal.Load() != nil, c.hasUnreadInput():
		c.linger()
	}
	c.Close()
}

// serveRequest serves one request and reports whether another may follow.
func (c *Conn) serveRequest(h http.Handler, onPanic func(error)) bool {
	w := c.readRequest()
	again := w != nil && w.serve(h, onPanic)
	switch {
	case c.stage.Load() == stageHijacked:
		return false
	case again:
		c.awaitNext()
	}
	return again && !c.server.isClosing()
}
