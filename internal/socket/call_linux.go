//go:build !386 && !s390x && !race

package socket

import (
	"syscall"
	"unsafe"
)

func read(fd uintptr, p []byte) (int, syscall.Errno) {
	return call(syscall.SYS_RECVFROM, fd, p, 0)
}

func peek(fd uintptr, p []byte) (int, syscall.Errno) {
	return call(syscall.SYS_RECVFROM, fd, p, syscall.MSG_PEEK)
}

func write(fd uintptr, p []byte) (int, syscall.Errno) {
	return call(syscall.SYS_SENDTO, fd, p, syscall.MSG_NOSIGNAL)
}

// call makes a system call that does not wait, without announcing it to the Go
// scheduler as package syscall does. If an announced call takes about twenty
// microseconds, as sending over loopback often does, the runtime gives its
// processor to another thread, which has to be woken, and put to sleep when the
// call returns: on two processors 3.2 futex calls and 7.7 context switches a
// request, and 0.2 and 3.5 without it. The race detector learns the order of
// writes and reads from package syscall only, so call_other.go serves there.
func call(trap, fd uintptr, p []byte, flags uintptr) (int, syscall.Errno) {
	n, _, err := syscall.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_DONTWAIT|flags, 0, 0)
	return int(n), err
}
