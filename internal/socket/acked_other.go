//go:build !linux || 386 || s390x

package socket

// Acked reports that nothing is known.
func Acked(uintptr) (bytes uint64, more, ok bool) { return 0, false, false }

// Unread reports that nothing is known.
func Unread(uintptr) (bytes int, ok bool) { return 0, false }
