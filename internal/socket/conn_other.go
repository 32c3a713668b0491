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

// NewConn takes over from a connection, which must not be used any more. After an
// error that is as it was.
func NewConn(from *net.UnixConn) (*Conn, error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Conn{from, raw}, nil
}

// Await calls a function with the socket until it is done: at once, and whenever
// something came. It is a read, and has the deadline of one.
func (c *Conn) Await(step func(fd uintptr) (done bool)) error { return c.raw.Read(step) }

// Control calls a function with the socket. It may be called from any goroutine.
func (c *Conn) Control(f func(fd uintptr)) error { return c.raw.Control(f) }
