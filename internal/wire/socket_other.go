//go:build !linux

package wire

import (
	"net"
	"syscall"
)

// hungUp is not known here: the client is found gone when its body is read.
func hungUp(*net.TCPConn) bool { return false }

// LimitUnsent does nothing where the kernel cannot be told.
func LimitUnsent(syscall.Conn) {}
