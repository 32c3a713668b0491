package proxy

import (
	"net"
	"syscall"
)

// States of a TCP connection (include/net/tcp_states.h).
const (
	tcpClose     = 7
	tcpCloseWait = 8
)

// hungUp reports whether the other end closed the connection. The state is the
// first byte of TCP_INFO (tcp(7)).
func hungUp(c *net.TCPConn) (gone bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		info, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		state := info & 0xff
		gone = err == nil && (state == tcpClose || state == tcpCloseWait)
	})
	return gone || err != nil
}
