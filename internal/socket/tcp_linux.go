package socket

import "syscall"

// States of a TCP connection (include/net/tcp_states.h).
const (
	tcpClose     = 7
	tcpCloseWait = 8
)

// Bytes that the kernel accepts before it can send them (tcp(7); the number of the
// option is in include/uapi/linux/tcp.h).
const (
	tcpNotSentLowat = 25
	unsent          = 128 << 10
)

// LimitUnsent makes the kernel accept little more than it can send. Otherwise it
// accepts megabytes, and then nothing until a slow reader has read a third of them,
// so nobody would see progress meanwhile.
func LimitUnsent(c syscall.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, unsent)
	})
}

// Disconnected reports whether the other end has closed the connection, even if
// input was not read. The state is the first byte of TCP_INFO (tcp(7)).
func Disconnected(fd uintptr) bool {
	info, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
	state := info & 0xff
	return err == nil && (state == tcpClose || state == tcpCloseWait)
}
