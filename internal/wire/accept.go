package wire

import (
	"errors"
	"net"
	"syscall"
	"time"

	"tqserver/internal/socket"
)

// Pauses after connections that could not be accepted. What is lacking is
// mostly descriptors, and some come back.
const (
	minAcceptDelay = time.Millisecond
	maxAcceptDelay = time.Second
)

// reportInterval is how often trouble is told of at most.
const reportInterval = time.Second

// accept waits for a connection and, when there are as many as there may be, for
// room for it: the one that waits longest for a request is closed. It is closed
// too when there are no descriptors left.
func (srv *Server) accept() (*Conn, error) {
	for pause := minAcceptDelay; ; pause = min(2*pause, maxAcceptDelay) {
		c, err := srv.tcp.Accept()
		switch {
		case err == nil:
			return srv.addWhenPossible(c.(*net.TCPConn))
		case errors.Is(err, net.ErrClosed):
			return nil, err
		}
		srv.reportError(err)
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			srv.closeLongestIdle()
		}
		select {
		case <-srv.capacityFreed():
		case <-time.After(pause):
		case <-srv.closing:
		}
	}
}

func (srv *Server) reportError(err error) {
	srv.unreported++
	if now := time.Now(); now.Sub(srv.reported) >= reportInterval {
		srv.onError(err, srv.unreported)
		srv.reported, srv.unreported = now, 0
	}
}

func (srv *Server) addWhenPossible(tcp *net.TCPConn) (*Conn, error) {
	socket.LimitUnsent(tcp)
	c, err := newConn(tcp, srv)
	if err != nil {
		return nil, err
	}
	for {
		room, ok := srv.addConn(c)
		if ok {
			return c, nil
		}
		if srv.closeLongestIdle() {
			continue
		}
		select {
		case <-room:
		case <-time.After(unusedCheckInterval):
		case <-srv.closing:
			tcp.Close()
			return nil, net.ErrClosed
		}
	}
}

// addConn counts a connection, or returns what is closed when that may be tried
// again, which is nil if nothing further is accepted.
func (srv *Server) addConn(c *Conn) (room <-chan struct{}, ok bool) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.isClosing() {
		return nil, false
	}
	if len(srv.conns) < srv.settings.Load().MaxConnections {
		srv.conns[c] = struct{}{}
		c.startIdle(srv.settings.Load().HeaderTimeout)
		if srv.idle.active.Load() {
			srv.idle.addLocked(c, len(srv.conns))
		}
		return nil, true
	}
	return srv.capacityFreedLocked(), false
}

func (srv *Server) capacityFreed() <-chan struct{} {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.capacityFreedLocked()
}

func (srv *Server) capacityFreedLocked() <-chan struct{} {
	if srv.capacity == nil {
		srv.capacity = make(chan struct{})
	}
	srv.capacityAwaited.Store(true) // before anybody looks who is idle
	return srv.capacity
}

// A new connection has some time for its first request before it counts as one
// that waits; unusedCheckInterval is when that is found out.
const (
	unusedGrace         = time.Second
	unusedCheckInterval = 250 * time.Millisecond
)

// closeLongestIdle closes the connection that waits longest for a request.
func (srv *Server) closeLongestIdle() bool {
	longest, ok := srv.popLongestIdle()
	if !ok {
		return false
	}
	if longest.c.idleSince.CompareAndSwap(longest.since, 0) { // or its request has just come
		longest.c.Close()
	}
	return true
}

// popLongestIdle returns the connection that waits longest, which it does not return
// again.
func (srv *Server) popLongestIdle() (idleConn, bool) {
	young := time.Now().Add(-unusedGrace).UnixNano()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if !srv.idle.active.Load() {
		srv.idle.buildLocked(srv.conns)
	}
	return srv.idle.popLocked(young)
}

func (srv *Server) removeConn(c *Conn) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.conns, c)
	c.idleSince.Store(0) // or the line would hold it for ever
	if len(srv.conns) < srv.settings.Load().MaxConnections/2 {
		srv.idle.resetLocked()
	}
	srv.signalCapacityLocked()
}

// connFreed wakes who waits for room: a connection is not busy any more.
func (srv *Server) connFreed(c *Conn) {
	if !srv.capacityAwaited.Load() && !srv.idle.active.Load() {
		return
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if _, there := srv.conns[c]; there && srv.idle.active.Load() {
		srv.idle.addLocked(c, len(srv.conns))
	}
	srv.signalCapacityLocked()
}

func (srv *Server) signalCapacityLocked() {
	if srv.capacity != nil {
		close(srv.capacity)
		srv.capacity = nil
		srv.capacityAwaited.Store(false)
	}
}
