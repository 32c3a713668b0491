//go:build !linux

package socket

import "syscall"

// LimitUnsent does nothing where the kernel cannot be told.
func LimitUnsent(syscall.Conn) {}

// Disconnected reports whether the other end closed the connection. It is not seen as
// long as something that it sent before was not read.
func Disconnected(fd uintptr) bool {
	var b [1]byte
	n, err := peek(fd, b[:])
	return err == 0 && n == 0 || err != 0 && err != syscall.EAGAIN && err != syscall.EINTR
}
