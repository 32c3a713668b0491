//go:build !linux

package socket

import "syscall"

// LimitUnsent does nothing: the kernel has no such option.
func LimitUnsent(syscall.Conn) {}

// Disconnected reports whether the other end has closed the connection. It cannot
// tell while there is input that was not read.
func Disconnected(fd uintptr) bool {
	var b [1]byte
	n, err := peek(fd, b[:])
	return err == 0 && n == 0 || err != 0 && err != syscall.EAGAIN && err != syscall.EINTR
}
