package wire

import (
	"net"
	"time"

	"tqserver/internal/socket"
)

// lingerTimeout is how long the server waits for a client before it closes.
const lingerTimeout = 500 * time.Millisecond

// Close may be called from any goroutine, and more than once.
func (c *Conn) Close() error {
	err := net.ErrClosed
	c.closed.Do(func() {
		err = c.tcp.Close()
		c.handleDisconnect()
		c.stopDisconnectWatch()
		c.server.removeConn(c)
	})
	return err
}

// hasUnreadInput reports whether the client has sent something that will not be
// read.
func (c *Conn) hasUnreadInput() bool {
	has := c.bodyUnread || len(c.buf) > 0
	c.raw.Control(func(fd uintptr) { has = has || socket.HasInput(fd) })
	return has
}

// linger reads what the client still sends after its last response. If the
// connection were closed earlier, the client could lose the response (RFC 9112
// section 9.6).
func (c *Conn) linger() {
	c.stopDisconnectWatch()
	c.tcp.CloseWrite()
	c.SetReadDeadline(time.Now().Add(lingerTimeout))
	buf := bufferPool.Get().(*[bufferSize]byte)
	defer bufferPool.Put(buf)
	for {
		if n, err := c.readSocket(buf[:]); n == 0 || err != nil {
			return
		}
	}
}

// setReset makes Close reset the connection. First it waits until the client has
// acknowledged everything, because a reset discards the rest.
func (c *Conn) setReset() {
	timeout := time.NewTimer(lingerTimeout)
	defer timeout.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for more := true; more; {
		select {
		case <-tick.C:
			more = false
			c.raw.Control(func(fd uintptr) { _, more, _ = socket.Acked(fd) })
		case <-timeout.C:
			more = false
		}
	}
	c.tcp.SetLinger(0)
}
