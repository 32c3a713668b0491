package socket

import "syscall"

// States of a TCP connection (include/net/tcp_states.h).
const (
	tcpClose     = 7
	tcpCloseWait = 8
)

// Bytes that the kernel takes before they can be sent (tcp(7), the option's
// number is in include/uapi/linux/tcp.h).
const (
	tcpNotSentLowat = 25
	unsent          = 128 << 10
)

// LimitUnsent has the kernel take little more than it can send. It would take
// megabytes and then nothing for as long as a slow reader needs for a third of
// them: time in which nobody sees that something moves.
func LimitUnsent(c syscall.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, unsent)
	})
}

// Disconnected reports whether the other end closed the connection, of which nothing
// need have been read. The state is the first byte of TCP_INFO (tcp(7)).
func Disconnected(fd uintptr) bool {
	info, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
	state := info & 0xff
	return err == nil && (state == tcpClose || state == tcpCloseWait)
}
