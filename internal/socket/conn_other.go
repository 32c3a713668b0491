//go:build !linux

package socket

import (
	"net"
	"syscall"
)

// Conn is a connection over a Unix socket.
type Conn struct {
	*net.UnixConn
	raw syscall.RawConn
}

// NewConn returns a connection that replaces from. After an error from is
// unchanged.
func NewConn(from *net.UnixConn) (*Conn, error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Conn{from, raw}, nil
}

// Await calls step with the socket until step reports that it is done: at once, and
// whenever something arrives. It is a read and has the deadline of one.
func (c *Conn) Await(step func(fd uintptr) (done bool)) error { return c.raw.Read(step) }

// Control calls f with the socket. It may be called from any goroutine.
func (c *Conn) Control(f func(fd uintptr)) error { return c.raw.Control(f) }
