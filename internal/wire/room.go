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
	young := time.Now().Add(-firstGrace).UnixNano()
	srv.mu.Lock()
	var longest *Conn
	var since int64
	for c := range srv.conns {
		at := c.waiting.Load()
		if at > young && c.stage.Load() == fresh {
			continue
		}
		if at != 0 && (longest == nil || at < since) {
			longest, since = c, at
		}
	}
	srv.mu.Unlock()
	if longest == nil {
		return false
	}
	if longest.waiting.CompareAndSwap(since, 0) { // or its request has just come
		longest.Close()
	}
	return true
}

func (srv *Server) forget(c *Conn) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.conns, c)
	srv.freedLocked()
}

// freed wakes who waits for room.
func (srv *Server) freed() {
	if srv.full.Load() {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		srv.freedLocked()
	}
}

func (srv *Server) freedLocked() {
	if srv.room != nil {
		close(srv.room)
		srv.room = nil
		srv.full.Store(false)
	}
}
