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
	firstPause = time.Millisecond
	lastPause  = time.Second
)

// tellEvery is how often trouble is told of at most.
const tellEvery = time.Second

// accept waits for a connection and, when there are as many as there may be, for
// room for it: the one that waits longest for a request is closed. It is closed
// too when there are no descriptors left.
func (srv *Server) accept() (*Conn, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		c, err := srv.tcp.Accept()
		switch {
		case err == nil:
			return srv.admit(c.(*net.TCPConn))
		case errors.Is(err, net.ErrClosed):
			return nil, err
		}
		srv.tell(err)
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			srv.closeLongestIdle()
		}
		select {
		case <-srv.awaitRoom():
		case <-time.After(pause):
		case <-srv.done:
		}
	}
}

func (srv *Server) tell(err error) {
	srv.untold++
	if now := time.Now(); now.Sub(srv.told) >= tellEvery {
		srv.trouble(err, srv.untold)
		srv.told, srv.untold = now, 0
	}
}

func (srv *Server) admit(tcp *net.TCPConn) (*Conn, error) {
	socket.LimitUnsent(tcp)
	c, err := newConn(tcp, srv)
	if err != nil {
		return nil, err
	}
	for {
		room, ok := srv.enter(c)
		if ok {
			return c, nil
		}
		if srv.closeLongestIdle() {
			continue
		}
		select {
		case <-room:
		case <-time.After(lookAgain):
		case <-srv.done:
			tcp.Close()
			return nil, net.ErrClosed
		}
	}
}

// enter counts a connection, or returns what is closed when that may be tried
// again, which is nil if nothing further is accepted.
func (srv *Server) enter(c *Conn) (room <-chan struct{}, ok bool) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.over() {
		return nil, false
	}
	if len(srv.conns) < srv.settings.Load().MaxConnections {
		srv.conns[c] = struct{}{}
		c.await(srv.settings.Load().HeaderTimeout)
		if srv.line.kept.Load() {
			srv.line.joinLocked(c, len(srv.conns))
		}
		return nil, true
	}
	return srv.awaitRoomLocked(), false
}

func (srv *Server) awaitRoom() <-chan struct{} {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.awaitRoomLocked()
}

func (srv *Server) awaitRoomLocked() <-chan struct{} {
	if srv.room == nil {
		srv.room = make(chan struct{})
	}
	srv.full.Store(true) // before anybody looks who is idle
	return srv.room
}

// A new connection has some time for its first request before it counts as one
// that waits; lookAgain is when that is found out.
const (
	firstGrace = time.Second
	lookAgain  = 250 * time.Millisecond
)

// closeLongestIdle closes the connection that waits longest for a request.
func (srv *Server) closeLongestIdle() bool {
	longest, ok := srv.longestIdle()
	if !ok {
		return false
	}
	if longest.c.waiting.CompareAndSwap(longest.since, 0) { // or its request has just come
		longest.c.Close()
	}
	return true
}

// longestIdle returns the connection that waits longest, which it does not return
// again.
func (srv *Server) longestIdle() (waiter, bool) {
	young := time.Now().Add(-firstGrace).UnixNano()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if !srv.line.kept.Load() {
		srv.line.makeLocked(srv.conns)
	}
	return srv.line.nextLocked(young)
}

func (srv *Server) forget(c *Conn) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.conns, c)
	c.waiting.Store(0) // or the line would hold it for ever
	if len(srv.conns) < srv.settings.Load().MaxConnections/2 {
		srv.line.dropLocked()
	}
	srv.freedLocked()
}

// freed wakes who waits for room: a connection is not busy any more.
func (srv *Server) freed(c *Conn) {
	if !srv.full.Load() && !srv.line.kept.Load() {
		return
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if _, there := srv.conns[c]; there && srv.line.kept.Load() {
		srv.line.joinLocked(c, len(srv.conns))
	}
	srv.freedLocked()
}

func (srv *Server) freedLocked() {
	if srv.room != nil {
		close(srv.room)
		srv.room = nil
		srv.full.Store(false)
	}
}
