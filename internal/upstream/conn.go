package upstream

import (
	"bufio"
	"errors"
	"syscall"
	"time"

	"tqserver/internal/socket"
)

// maxHeader is how many bytes the header of an answer may have, those of the
// interim answers before it included.
const maxHeader = 1 << 20

var errHeaderTooLarge = errors.New("the header of the worker's response is too large")

// conn is a connection to a worker, for one exchange at a time.
type conn struct {
	stream
	pool      *Pool
	await     func(step func(fd uintptr) (done bool)) error // calls step at once, and whenever something came
	control   func(f func(fd uintptr)) error                // calls f with the socket
	reader    *bufio.Reader
	idleSince time.Time // nothing uses it; guarded by Pool.mu

	// A request on its way, and how it is written.
	buf       *[32 << 10]byte
	message   []byte    // what is to be sent of its header, and of what goes out with that; in buf if that is large enough
	current   *Exchange // whose it is, until it was sent
	writeStep func(fd uintptr) bool
	used      bool // there was an exchange before

	// The reader's.
	headerLeft int    // bytes of a header that may still come, or -1
	beforeWait func() // called before a read waits; may be nil
	mayWait    bool   // a read does, if nothing is there
	wouldWait  bool   // nothing was there, and it has not waited

	readStep func(fd uintptr) bool // bound once, so that a read allocates nothing
	readBuf  []byte
	readN    int
	opErr    error
}

// connReader is what the connection is read by.
type connReader struct{ c *conn }

// Read is that of the socket, but for what it does before it waits.
func (r connReader) Read(p []byte) (int, error) {
	c := r.c
	if c.headerLeft == 0 {
		return 0, errHeaderTooLarge
	}
	if c.headerLeft > 0 {
		p = p[:min(len(p), c.headerLeft)]
	}
	c.readBuf, c.mayWait, c.wouldWait = p, c.beforeWait == nil, false
	err := c.await(c.readStep)
	if err == nil && c.wouldWait {
		c.beforeWait() // not in the read, or nobody could close the socket meanwhile
		c.mayWait = true
		err = c.await(c.readStep)
	}
	c.readBuf = nil
	switch {
	case err != nil:
		return 0, err
	case c.opErr != nil:
		return 0, c.opErr
	}
	if c.headerLeft > 0 {
		c.headerLeft -= c.readN
	}
	return c.readN, nil
}

func (c *conn) readNow(fd uintptr) (done bool) {
	n, err := socket.Read(fd, c.readBuf)
	if err == syscall.EAGAIN {
		c.wouldWait = !c.mayWait
		return c.wouldWait
	}
	c.readN, c.opErr = n, err
	return true
}

// errStale is the error of a connection that ended, or on which something came
// that nobody asked for, before anything was sent.
var errStale = errors.New("the connection is not free")

// send sends a request and waits until there is something to read, as one
// operation of the poller.
func (c *conn) send(x *Exchange) error {
	c.buf = bufferPool.Get().(*[32 << 10]byte)
	defer c.releaseMessage()
	message, err := c.appendRequest(x, c.buf[:0])
	if err != nil {
		return err
	}
	c.message, c.current, c.opErr = message, x, nil
	err = c.await(c.writeStep)
	switch {
	case err != nil:
		return err
	case c.opErr == nil:
		return nil
	}
	n := 0
	if c.opErr == syscall.EAGAIN { // the kernel took a part
		n, c.opErr = c.stream.Write(c.message)
	}
	x.wroteHeader = len(c.message)-n <= len(x.BodyStart)
	if c.opErr != nil {
		return c.opErr
	}
	x.headerSent(c)
	return nil
}

// releaseMessage gives up the message, of which nothing is to be sent any more.
func (c *conn) releaseMessage() {
	if c.buf != nil {
		bufferPool.Put(c.buf)
	}
	c.buf, c.message, c.current = nil, nil, nil
}

func (c *conn) writeNow(fd uintptr) (done bool) {
	if c.current == nil { // the second time: something came
		return true
	}
	if c.used && !socket.IsIdle(fd) {
		c.opErr = errStale
		return true
	}
	n, err := socket.Write(fd, c.message)
	if err != nil {
		c.message, c.opErr = c.message[n:], err
		return true
	}
	c.current.headerSent(c)
	c.releaseMessage()
	return false
}

// close may be called from any goroutine, and again.
func (c *conn) close() { c.stream.Close() }
