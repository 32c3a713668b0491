package wire

import (
	"errors"
	"os"
	"sync"
	"time"

	"tqserver/internal/socket"
)

// disconnectWatch notices that a client disconnects while its request is active.
// Most requests end before a goroutine for this would pay. So the connection is
// checked now and then, and a goroutine waits only if a request takes longer.
// Conn.mu guards it.
type disconnectWatch struct {
	requestActive  bool
	requests       uint          // how many there have been
	checkedRequest uint          // value of requests at the last check
	checkPending   bool          // another check is scheduled
	watchDone      chan struct{} // closed when the goroutine has ended; nil if there is none
	watchStopping  bool          // the read deadline is set to end the goroutine
	disconnectFunc func()        // called when the client disconnects, with Conn.mu held; may be nil
}

// checkInterval is the time between two checks of a connection.
const checkInterval = 50 * time.Millisecond

// aLongTimeAgo is a deadline that ends a read at once.
var aLongTimeAgo = time.Unix(1, 0)

// startDisconnectWatch starts to watch for a disconnect during a request.
func (c *Conn) startDisconnectWatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requestActive, c.disconnectFunc = true, nil
	c.requests++
	if !c.checkPending {
		c.checkLaterLocked()
	}
}

// stopDisconnectWatch stops the watch. When it returns, only the caller reads.
func (c *Conn) stopDisconnectWatch() {
	c.mu.Lock()
	c.requestActive, c.disconnectFunc = false, nil
	watch := c.watchDone
	if watch != nil {
		c.watchStopping, c.armedDeadline = true, aLongTimeAgo
		c.tcp.SetReadDeadline(aLongTimeAgo)
	}
	c.mu.Unlock()
	if watch == nil {
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

// disconnectChecks checks all connections with one timer. A timer for each
// connection would fire about as often as requests arrive.
type disconnectChecks struct {
	mu    sync.Mutex  // guards the fields below
	next  []*Conn     // to be checked in the next run
	timer *time.Timer // starts the next run
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

// checkDisconnect checks whether the client is still connected. If the same request
// was active at the last check, it leaves the rest to a goroutine.
func (c *Conn) checkDisconnect() {
	c.mu.Lock()
	c.checkPending = false
	disconnected := false
	switch {
	case !c.requestActive:
	case c.checkedRequest == c.requests && c.requestRead.Load(): // the handler reads nothing any more
		c.watchDone = make(chan struct{})
		go c.awaitDisconnect(c.watchDone)
	case c.isDisconnected():
		disconnected = true
	default:
		c.checkedRequest = c.requests
		c.checkLaterLocked()
	}
	c.mu.Unlock()
	if disconnected {
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

// handleDisconnect cancels the requests of a client that has disconnected.
func (c *Conn) handleDisconnect() {
	c.mu.Lock()
	cancel := c.cancel
	c.mu.Unlock()
	cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disconnectFunc != nil {
		c.disconnectFunc()
	}
}

func (c *Conn) isDisconnected() (disconnected bool) {
	raw, err := c.tcp.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { disconnected = socket.Disconnected(fd) })
	}
	return disconnected || err != nil
}

// awaitDisconnect cancels the requests of a client that disconnects. It returns
// then, when the connection is closed, and when stopDisconnectWatch ends it.
func (c *Conn) awaitDisconnect(ended chan<- struct{}) {
	defer close(ended)
	raw, err := c.tcp.SyscallConn()
	for err == nil {
		err = raw.Read(socket.Disconnected) // is called whenever something arrives
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
