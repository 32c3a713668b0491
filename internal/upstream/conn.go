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
	pool  *Pool
	await func(step func(fd uintptr) (done bool)) error // calls step at once, and whenever something came
	onto  func(f func(fd uintptr)) error                // calls f with the socket
	r     *bufio.Reader
	since time.Time // nothing uses it; guarded by Pool.mu

	// A request on its way, and how it is written.
	buf     *[32 << 10]byte
	message []byte    // what is to be sent of its header, and of what goes out with that; in buf if that is large enough
	asking  *Exchange // whose it is, until it was sent
	write   func(fd uintptr) bool
	used    bool // there was an exchange before

	// The reader's.
	left  int    // bytes of a header that may still come, or -1
	block func() // called before a read waits; may be nil
	waits bool   // a read does, if nothing is there
	dry   bool   // nothing was there, and it has not waited

	receive func(fd uintptr) bool // bound once, so that a read allocates nothing
	into    []byte
	got     int
	failed  error
}

// reader is what the connection is read by.
type reader struct{ c *conn }

// Read is that of the socket, but for what it does before it waits.
func (r reader) Read(p []byte) (int, error) {
	c := r.c
	if c.left == 0 {
		return 0, errHeaderTooLarge
	}
	if c.left > 0 {
		p = p[:min(len(p), c.left)]
	}
	c.into, c.waits, c.dry = p, c.block == nil, false
	err := c.await(c.receive)
	if err == nil && c.dry {
		c.block() // not in the read, or nobody could close the socket meanwhile
		c.waits = true
		err = c.await(c.receive)
	}
	c.into = nil
	switch {
	case err != nil:
		return 0, err
	case c.failed != nil:
		return 0, c.failed
	}
	if c.left > 0 {
		c.left -= c.got
	}
	return c.got, nil
}

func (c *conn) receiveFrom(fd uintptr) (done bool) {
	n, err := socket.Read(fd, c.into)
	if err == syscall.EAGAIN {
		c.dry = !c.waits
		return c.dry
	}
	c.got, c.failed = n, err
	return true
}

// errStale is the error of a connection that ended, or on which something came
// that nobody asked for, before anything was sent.
var errStale = errors.New("the connection is not free")

// ask sends a request and waits until there is something to read, as one
// operation of the poller.
func (c *conn) ask(x *Exchange) error {
	c.buf = bufferPool.Get().(*[32 << 10]byte)
	defer c.forget()
	message, err := c.compose(x, c.buf[:0])
	if err != nil {
		return err
	}
	c.message, c.asking, c.failed = message, x, nil
	err = c.await(c.write)
	switch {
	case err != nil:
		return err
	case c.failed == nil:
		return nil
	}
	n := 0
	if c.failed == syscall.EAGAIN { // the kernel took a part
		n, c.failed = c.stream.Write(c.message)
	}
	x.wrote = len(c.message)-n <= len(x.BodyStart)
	if c.failed != nil {
		return c.failed
	}
	x.sent(c)
	return nil
}

// forget gives up the message, of which nothing is to be sent any more.
func (c *conn) forget() {
	if c.buf != nil {
		bufferPool.Put(c.buf)
	}
	c.buf, c.message, c.asking = nil, nil, nil
}

func (c *conn) writeTo(fd uintptr) (done bool) {
	if c.asking == nil { // the second time: something came
		return true
	}
	if c.used && !socket.IsIdle(fd) {
		c.failed = errStale
		return true
	}
	n, err := socket.Write(fd, c.message)
	if err != nil {
		c.message, c.failed = c.message[n:], err
		return true
	}
	c.asking.sent(c)
	c.forget()
	return false
}

// close may be called from any goroutine, and again.
func (c *conn) close() { c.stream.Close() }
