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

// Settings bound what connections may cost.
type Settings struct {
	HeaderTimeout  time.Duration // from the first byte of a request to the end of its header
	IdleTimeout    time.Duration // between requests; 0 for none
	MaxHeader      int           // bytes of a header, its first line included
	MaxConnections int           // 0 for as many as the file limit allows, less a reserve
}

// Server answers clients.
type Server struct {
	tcp             net.Listener
	onError         func(err error, n int)
	reported        time.Time // trouble was; accept's, as the next is
	unreported      int
	settings        atomic.Pointer[Settings]
	capacityAwaited atomic.Bool   // a connection waits for room
	endWriteTimeout time.Duration // with a client that does not take the end of an answer
	checks          disconnectChecks

	mu       sync.Mutex // guards all below
	conns    map[*Conn]struct{}
	idle     idleQueue
	capacity chan struct{} // closed when a connection was closed or became idle; nil if nobody waits
	closing  chan struct{} // closed when nothing further is accepted
}

// Listen returns a server of what comes on a TCP listener. Trouble is told of
// errors after which more connections may come: of the newest and how many there
// were, once a second at most.
func Listen(tcp net.Listener, s Settings, onError func(err error, n int)) *Server {
	srv := &Server{tcp: tcp, onError: onError, conns: make(map[*Conn]struct{}), closing: make(chan struct{}), endWriteTimeout: endWriteTimeout}
	srv.Configure(s)
	return srv
}

// Configure changes the settings, also for the connections that there are.
func (srv *Server) Configure(s Settings) {
	if s.MaxConnections <= 0 {
		s.MaxConnections = defaultMaxConnections()
	}
	srv.settings.Store(&s)
}

// Serve has requests answered by a handler until the server is shut down or
// closed, and then returns nil when all handlers have returned. It is called once.
//
// A handler finds what it would find behind net/http's server, where that need not
// know of HTTP/2 or TLS, but for this: the context of a request, a descendant of
// ctx, is that of the connection and ends with it, not with the handler. Panicked
// is told of a handler's panic, with its stack, unless it is
// [http.ErrAbortHandler]. In both cases the answer is cut short.
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
		serving.Go(func() { c.serve(ctx, h, onPanic) }) // ends with the connection
	}
}

// Shutdown accepts nothing further and returns when no request is under way, or
// when the context has ended, with its error. Connections that wait for a request
// are closed, those that were taken over stay.
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

// Close accepts nothing further and closes all connections.
func (srv *Server) Close() {
	srv.stopAccepting()
	for _, c := range srv.connsWhere(func(*Conn) bool { return true }) {
		c.Close()
	}
}

// stopAccepting has nothing further stopAccepting.
func (srv *Server) stopAccepting() {
	srv.mu.Lock()
	if !srv.isClosing() {
		close(srv.closing)
	}
	srv.mu.Unlock()
	srv.tcp.Close()
}

// isClosing reports whether nothing further is accepted.
func (srv *Server) isClosing() bool {
	select {
	case <-srv.closing:
		return true
	default:
		return false
	}
}

// closeIdle closes the connections that wait for another request, and reports
// whether requests are under way on others.
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

// CloseUnused closes the connections on which no request has come yet. A browser
// opens some that it may never use.
func (srv *Server) CloseUnused() {
	for _, c := range srv.connsWhere(func(c *Conn) bool { return c.stage.Load() == stageNew }) {
		if c.claimIdle() {
			c.Close()
		}
	}
}

// connsWhere returns the connections that are as asked for.
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

// Connections is how many there are.
func (srv *Server) Connections() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return len(srv.conns)
}

// Addr is where the server listens.
func (srv *Server) Addr() net.Addr { return srv.tcp.Addr() }

// serve answers the requests of a connection, one after the other.
func (c *Conn) serve(ctx context.Context, h http.Handler, onPanic func(error)) {
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, c.LocalAddr())
	ctx, cancel := context.WithCancel(context.WithValue(ctx, connKey{}, c))
	defer cancel()
	defer func() {
		if v := recover(); v != nil { // of what the client sent: a handler's is noticed before
			onPanic(fmt.Errorf("panic while reading from %s: %v\n%s", c.remote, v, debug.Stack()))
			c.Close()
		}
	}()
	c.setContext(ctx, cancel)
	for c.awaitRequest() == nil && c.serveRequest(h, onPanic) {
	}
	switch {
	case c.stage.Load() == stageHijacked: // who has it closes it
		return
	case c.resetOnClose:
		c.setReset()
	case c.refusal.Load() != nil, c.hasUnreadInput():
		c.linger()
	}
	c.Close()
}

// serveRequest answers a request, and reports whether another is to be awaited.
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
