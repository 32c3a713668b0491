//go:build !linux

package wire

import "syscall"

// seesHangUp says that hungUp does not know here: net/http finds the client gone
// when it reads.
const seesHangUp = false

func hungUp(uintptr) bool { return false }

// LimitUnsent does nothing where the kernel cannot be told.
func LimitUnsent(syscall.Conn) {}
