package wire

import (
	"errors"
	"os"
	"syscall"
	"time"

	"tqserver/internal/socket"
)

// endWriteTimeout is how long a client may receive nothing of the end of a
// response. No handler watches that.
const endWriteTimeout = 30 * time.Second

// writeEnd writes the end of a response.
func (c *Conn) writeEnd(b []byte) error {
	c.unsent, c.writeBlocked, c.writeErr = b, false, nil
	err := c.raw.Write(c.writeStep)
	for c.writeBlocked && errors.Is(err, os.ErrDeadlineExceeded) && c.clientProgressed() {
		c.tcp.SetWriteDeadline(time.Now().Add(c.server.endWriteTimeout))
		err = c.raw.Write(c.writeStep)
	}
	c.unsent = nil
	if c.writeBlocked {
		c.tcp.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return err
	}
	return c.writeErr
}

func (c *Conn) writeNow(fd uintptr) (done bool) {
	n, err := socket.Write(fd, c.unsent)
	c.unsent = c.unsent[n:]
	if err == syscall.EAGAIN {
		c.acked, _, _ = socket.Acked(fd)
		c.writeBlocked = true
		c.tcp.SetWriteDeadline(time.Now().Add(c.server.endWriteTimeout))
		return false
	}
	c.writeErr = err
	return true
}

// clientProgressed reports whether the client has acknowledged more since the last
// call.
func (c *Conn) clientProgressed() bool {
	acked, _, ok := c.Acked()
	moved := ok && acked > c.acked
	c.acked = acked
	return moved
}

// Acked returns how many bytes the client has acknowledged since it connected, and
// whether it has more to acknowledge. It may be called from any goroutine. Ok is
// false if the kernel cannot tell.
func (c *Conn) Acked() (bytes uint64, more, ok bool) {
	err := c.raw.Control(func(fd uintptr) { bytes, more, ok = socket.Acked(fd) })
	return bytes, more, ok && err == nil
}
