//go:build !linux || 386 || s390x

package socket

// Acked always returns false: the kernel cannot tell.
func Acked(uintptr) (bytes uint64, more, ok bool) { return 0, false, false }

// Unread always returns false: the kernel cannot tell.
func Unread(uintptr) (bytes int, ok bool) { return 0, false }
