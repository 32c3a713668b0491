package upstream

import (
	"bufio"
	"errors"
	"syscall"
	"time"

	"tqserver/internal/socket"
)

// maxHeader is how many bytes the header of a response may have, including the
// interim responses before it.
const maxHeader = 1 << 20

var errHeaderTooLarge = errors.New("the header of the worker's response is too large")

// conn is a connection to a worker, for one exchange at a time.
type conn struct {
	stream
	pool      *Pool
	await     func(step func(fd uintptr) (done bool)) error // calls step at once, and whenever something arrives
	control   func(f func(fd uintptr)) error                // calls f with the socket
	reader    *bufio.Reader
	idleSince time.Time // guarded by Pool.mu

	// For the request that is being sent.
	buf       *[32 << 10]byte
	message   []byte    // its header and the start of its body, as far as not sent; in buf if that is large enough
	current   *Exchange // nil when it was sent
	writeStep func(fd uintptr) bool
	used      bool // for an earlier exchange

	// For the goroutine that reads.
	headerLeft int    // bytes that the header may still have, or -1
	beforeWait func() // called before a read waits; may be nil
	mayWait    bool   // the read may wait
	wouldWait  bool   // nothing has arrived, and the read did not wait

	readStep func(fd uintptr) bool // readNow, bound once so that a read does not allocate
	readBuf  []byte
	readN    int
	opErr    error
}

// connReader is the source of conn.reader.
type connReader struct{ c *conn }

// Read reads from the socket. It calls beforeWait before it waits.
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
		c.beforeWait() // outside the read, so that the connection can be closed meanwhile
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

// errStale is the error of a connection that ended, or on which something arrived,
// before anything was sent.
var errStale = errors.New("the connection is not free")

// send sends the header of a request and waits until there is something to read, in
// one operation of the poller.
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
	if c.opErr == syscall.EAGAIN { // the kernel accepted a part
		n, c.opErr = c.stream.Write(c.message)
	}
	x.wroteHeader = len(c.message)-n <= len(x.BodyStart)
	if c.opErr != nil {
		return c.opErr
	}
	x.headerSent(c)
	return nil
}

// releaseMessage gives up the message when nothing more of it will be sent.
func (c *conn) releaseMessage() {
	if c.buf != nil {
		bufferPool.Put(c.buf)
	}
	c.buf, c.message, c.current = nil, nil, nil
}

func (c *conn) writeNow(fd uintptr) (done bool) {
	if c.current == nil { // the second call: something has arrived
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

// close may be called from any goroutine, and more than once.
func (c *conn) close() { c.stream.Close() }
