//go:build !386 && !s390x

package socket

import (
	"syscall"
	"unsafe"
)

// tcpInfo is the beginning of struct tcp_info (include/uapi/linux/tcp.h).
type tcpInfo struct {
	_       [24]byte
	unacked uint32 // segments
	_       [92]byte
	acked   uint64 // bytes
	_       [16]byte
	unsent  uint32 // bytes
	_       uint32
}

// Unread returns how many of the written bytes the other end has not received. For
// a Unix socket these are the bytes that it has not read, and the kernel's cost of
// keeping them.
func Unread(fd uintptr) (bytes int, ok bool) {
	var n int32
	_, _, err := syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	return int(n), err == 0
}

// Acked returns how many bytes the other end of a TCP connection has acknowledged,
// and whether it has more to acknowledge.
func Acked(fd uintptr) (bytes uint64, more, ok bool) {
	var info tcpInfo
	size := uint32(unsafe.Sizeof(info))
	_, _, err := syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if err != 0 || uintptr(size) < unsafe.Sizeof(info) { // before Linux 4.6
		return 0, false, false
	}
	return info.acked, info.unacked > 0 || info.unsent > 0, true
}
