package upstream

import (
	"bufio"
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// maxHeader is how many bytes the header of an answer may have, those of the
// interim answers before it included.
const maxHeader = 1 << 20

var errHeaderTooLarge = errors.New("the header of the worker's answer is too large")

// conn is a connection to a worker, for one exchange at a time.
type conn struct {
	socket
	pool  *Pool
	raw   syscall.RawConn
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
	err := c.raw.Read(c.receive)
	if err == nil && c.dry {
		c.block() // not in the read, or nobody could close the socket meanwhile
		c.waits = true
		err = c.raw.Read(c.receive)
	}
	c.into = nil
	switch {
	case err != nil:
		return 0, err
	case c.failed != nil:
		return 0, c.failed
	case c.got == 0 && len(p) > 0:
		return 0, io.EOF
	}
	if c.left > 0 {
		c.left -= c.got
	}
	return c.got, nil
}

func (c *conn) receiveFrom(fd uintptr) (done bool) {
	for {
		n, err := syscall.Read(int(fd), c.into)
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			c.dry = !c.waits
			return c.dry
		}
		c.got, c.failed = max(0, n), os.NewSyscallError("read", err)
		return true
	}
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
	err = c.raw.Read(c.write)
	switch {
	case err != nil:
		return err
	case c.failed != syscall.EAGAIN:
		return c.failed
	}
	left := len(c.message) // the kernel took a part
	n, err := c.socket.Write(c.message)
	x.wrote = left-n <= len(x.First)
	if err != nil {
		return err
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
	if c.used && !quiet(int(fd)) {
		c.failed = errStale
		return true
	}
	n, err := syscall.Write(int(fd), c.message)
	switch {
	case err == syscall.EAGAIN, err == syscall.EINTR, err == nil && n < len(c.message):
		c.message, c.failed = c.message[max(0, n):], syscall.EAGAIN
		return true
	case err != nil:
		c.failed = os.NewSyscallError("write", err)
		return true
	}
	c.asking.sent(c)
	c.forget()
	return false
}

// quiet reports whether a connection is open and nothing came on it.
func quiet(fd int) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN
}

// close may be called from any goroutine, and again.
func (c *conn) close() { c.socket.Close() }
