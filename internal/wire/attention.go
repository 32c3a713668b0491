package wire

import (
	"errors"
	"os"
	"sync"
	"time"

	"tqserver/internal/socket"
)

// attention is how it is seen that a client hangs up whose request is under way.
// Most requests are over before it pays to wait for that: they are only looked at
// now and then, and a goroutine waits with those that take longer. It is guarded
// by Conn.mu.
type attention struct {
	busy   bool          // a request is under way
	turn   uint          // counts them
	looked uint          // the turn of the last look
	looks  bool          // another look will follow
	watch  chan struct{} // closed when the goroutine has ended; nil if there is none
	ending bool          // the deadline of reads is set so that it ends
	gone   func()        // told that the client has hung up, under Conn.mu; or nil
}

// lookEvery is how often it is looked whether clients are there.
const lookEvery = 50 * time.Millisecond

// past is a deadline that ends a read under way.
var past = time.Unix(1, 0)

// attend begins to see whether the client hangs up, or ends it: then nothing but
// the caller reads.
func (c *Conn) attend(on bool) {
	c.mu.Lock()
	c.busy, c.gone = on, nil
	watch := c.watch
	switch {
	case on:
		c.turn++
		if !c.looks {
			c.lookLaterLocked()
		}
	case watch != nil:
		c.ending, c.armed = true, past
		c.tcp.SetReadDeadline(past)
	}
	c.mu.Unlock()
	if on || watch == nil {
		return
	}
	<-watch
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watch == watch {
		c.watch, c.ending = nil, false
		c.armLocked()
	}
}

func (c *Conn) lookLaterLocked() {
	c.looks = true
	c.server.rounds.add(c)
}

// rounds are the looks at all connections, one after the other: a timer of each
// one's own would fire about as often as requests come.
type rounds struct {
	mu    sync.Mutex  // guards all below
	next  []*Conn     // are looked at in the next one
	timer *time.Timer // begins it, if there is anything to look at
}

func (r *rounds) add(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = append(r.next, c)
	switch {
	case len(r.next) > 1:
	case r.timer == nil:
		r.timer = time.AfterFunc(lookEvery, r.walk)
	default:
		r.timer.Reset(lookEvery)
	}
}

func (r *rounds) walk() {
	r.mu.Lock()
	due := r.next
	r.next = nil
	r.mu.Unlock()
	for _, c := range due {
		c.look()
	}
}

// look looks whether the client is there, and leaves it to a goroutine when it
// was the same request the last time.
func (c *Conn) look() {
	c.mu.Lock()
	c.looks = false
	left := false
	switch {
	case !c.busy:
	case c.looked == c.turn && c.whole.Load(): // so that nobody else reads
		c.watch = make(chan struct{})
		go c.awaitHangUp(c.watch)
	case c.hungUp():
		left = true
	default:
		c.looked = c.turn
		c.lookLaterLocked()
	}
	c.mu.Unlock()
	if left {
		c.left()
	}
}

func (c *Conn) whenGone(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = f
	if f != nil && c.leaving.Err() != nil {
		f()
	}
}

// left ends the requests of a client that has hung up.
func (c *Conn) left() {
	c.mu.Lock()
	leave := c.leave
	c.mu.Unlock()
	leave()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone != nil {
		c.gone()
	}
}

func (c *Conn) hungUp() (gone bool) {
	raw, err := c.tcp.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { gone = socket.Disconnected(fd) })
	}
	return gone || err != nil
}

// awaitHangUp ends the requests of a client that hangs up. It ends with that,
// with the connection, or when attend says so.
func (c *Conn) awaitHangUp(ended chan<- struct{}) {
	defer close(ended)
	raw, err := c.tcp.SyscallConn()
	for err == nil {
		err = raw.Read(socket.Disconnected) // asked again whenever something comes
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if c.expired() {
			return
		}
		err = nil
	}
	c.left()
}
