package worker

import (
	"net"

	direct "tqserver/internal/socket"
)

// socket is a listener on a Unix socket whose connections have the addresses
// that handlers expect.
type socket struct {
	net.Listener
	addr net.Addr // of the port
}

func (s socket) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if d, err := direct.NewConn(c.(*net.UnixConn)); err == nil { // or it does as it is
		c = d
	}
	return socketConn{c.(stream), s.addr}, nil
}

type socketConn struct {
	stream
	local net.Addr
}

// stream is a connection of which net/http closes one direction before the other.
type stream interface {
	net.Conn
	CloseWrite() error
}

// theServer is where the server is, as far as that has an address.
var theServer = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}

func (c socketConn) LocalAddr() net.Addr  { return c.local }
func (c socketConn) RemoteAddr() net.Addr { return theServer }
