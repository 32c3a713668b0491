package wire

import (
	"errors"
	"os"
	"sync"
	"time"

	"tqserver/internal/socket"
)

// disconnectWatch is how it is seen that a client hangs up whose request is under way.
// Most requests are over before it pays to wait for that: they are only looked at
// now and then, and a goroutine waits with those that take longer. It is guarded
// by Conn.mu.
type disconnectWatch struct {
	requestActive  bool          // a request is under way
	requests       uint          // counts them
	checkedRequest uint          // the turn of the last look
	checkPending   bool          // another look will follow
	watchDone      chan struct{} // closed when the goroutine has ended; nil if there is none
	watchStopping  bool          // the deadline of reads is set so that it ends
	disconnectFunc func()        // told that the client has hung up, under Conn.mu; or nil
}

// checkInterval is how often it is looked whether clients are there.
const checkInterval = 50 * time.Millisecond

// aLongTimeAgo is a deadline that ends a read under way.
var aLongTimeAgo = time.Unix(1, 0)

// watchDisconnect begins to see whether the client hangs up, or ends it: then nothing but
// the caller reads.
func (c *Conn) watchDisconnect(on bool) {
	c.mu.Lock()
	c.requestActive, c.disconnectFunc = on, nil
	watch := c.watchDone
	switch {
	case on:
		c.requests++
		if !c.checkPending {
			c.checkLaterLocked()
		}
	case watch != nil:
		c.watchStopping, c.armedDeadline = true, aLongTimeAgo
		c.tcp.SetReadDeadline(aLongTimeAgo)
	}
	c.mu.Unlock()
	if on || watch == nil {
		return
	}
	<-watch
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watchDone == watch {
		c.watchDone, c.watchStopping = nil, false
		c.armDeadlineLocked()
	}
}

func (c *Conn) checkLaterLocked() {
	c.checkPending = true
	c.server.checks.schedule(c)
}

// disconnectChecks are the looks at all connections, one after the other: a timer of each
// one's own would fire about as often as requests come.
type disconnectChecks struct {
	mu    sync.Mutex  // guards all below
	next  []*Conn     // are looked at in the next one
	timer *time.Timer // begins it, if there is anything to look at
}

func (r *disconnectChecks) schedule(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = append(r.next, c)
	switch {
	case len(r.next) > 1:
	case r.timer == nil:
		r.timer = time.AfterFunc(checkInterval, r.run)
	default:
		r.timer.Reset(checkInterval)
	}
}

func (r *disconnectChecks) run() {
	r.mu.Lock()
	due := r.next
	r.next = nil
	r.mu.Unlock()
	for _, c := range due {
		c.checkDisconnect()
	}
}

// checkDisconnect looks whether the client is there, and leaves it to a goroutine when it
// was the same request the last time.
func (c *Conn) checkDisconnect() {
	c.mu.Lock()
	c.checkPending = false
	left := false
	switch {
	case !c.requestActive:
	case c.checkedRequest == c.requests && c.requestRead.Load(): // so that nobody else reads
		c.watchDone = make(chan struct{})
		go c.awaitDisconnect(c.watchDone)
	case c.isDisconnected():
		left = true
	default:
		c.checkedRequest = c.requests
		c.checkLaterLocked()
	}
	c.mu.Unlock()
	if left {
		c.handleDisconnect()
	}
}

func (c *Conn) onDisconnect(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disconnectFunc = f
	if f != nil && c.ctx.Err() != nil {
		f()
	}
}

// handleDisconnect ends the requests of a client that has hung up.
func (c *Conn) handleDisconnect() {
	c.mu.Lock()
	leave := c.cancel
	c.mu.Unlock()
	leave()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disconnectFunc != nil {
		c.disconnectFunc()
	}
}

func (c *Conn) isDisconnected() (gone bool) {
	raw, err := c.tcp.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { gone = socket.Disconnected(fd) })
	}
	return gone || err != nil
}

// awaitDisconnect ends the requests of a client that hangs up. It ends with that,
// with the connection, or when attend says so.
func (c *Conn) awaitDisconnect(ended chan<- struct{}) {
	defer close(ended)
	raw, err := c.tcp.SyscallConn()
	for err == nil {
		err = raw.Read(socket.Disconnected) // asked again whenever something comes
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if c.deadlineExpired() {
			return
		}
		err = nil
	}
	c.handleDisconnect()
}
