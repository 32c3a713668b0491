//go:build !linux

package wire

import "syscall"

// hungUp reports whether the other end closed the connection. It is not seen as
// long as something that it sent before was not read.
func hungUp(fd uintptr) bool {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == nil && n == 0 || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
}

// LimitUnsent does nothing where the kernel cannot be told.
func LimitUnsent(syscall.Conn) {}
