package wire

import (
	"errors"
	"net"
	"syscall"
	"time"

	"tqserver/internal/socket"
)

// Delays after a connection could not be accepted. Mostly descriptors are lacking,
// and some become free again.
const (
	minAcceptDelay = time.Millisecond
	maxAcceptDelay = time.Second
)

// reportInterval is the least time between two reports of errors.
const reportInterval = time.Second

// accept returns the next connection. If there are as many as allowed, or no
// descriptors are left, it closes the one that has been idle longest, and waits if
// there is none.
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
		freed, ok := srv.addConn(c)
		if ok {
			return c, nil
		}
		if srv.closeLongestIdle() {
			continue
		}
		select {
		case <-freed:
		case <-time.After(unusedCheckInterval):
		case <-srv.closing:
			tcp.Close()
			return nil, net.ErrClosed
		}
	}
}

// addConn adds a connection if there is capacity. If not, it returns a channel that
// is closed when another attempt may succeed, or nil if the server is closing.
func (srv *Server) addConn(c *Conn) (freed <-chan struct{}, ok bool) {
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
	srv.capacityAwaited.Store(true) // before anybody looks for idle connections
	return srv.capacity
}

// A new connection has unusedGrace for its first request before it counts as idle.
// It is checked every unusedCheckInterval.
const (
	unusedGrace         = time.Second
	unusedCheckInterval = 250 * time.Millisecond
)

// closeLongestIdle closes the connection that has been idle longest, and reports
// whether there was one.
func (srv *Server) closeLongestIdle() bool {
	longest, ok := srv.popLongestIdle()
	if !ok {
		return false
	}
	if longest.c.idleSince.CompareAndSwap(longest.since, 0) { // else its request has just arrived
		longest.c.Close()
	}
	return true
}

// popLongestIdle returns the connection that has been idle longest, each only once.
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
	c.idleSince.Store(0) // lets the queue drop it
	if len(srv.conns) < srv.settings.Load().MaxConnections/2 {
		srv.idle.resetLocked()
	}
	srv.signalCapacityLocked()
}

// connFreed wakes those who wait for capacity, because c is not busy any more.
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
