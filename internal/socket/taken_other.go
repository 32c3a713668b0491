//go:build !linux || 386 || s390x

package socket

// Taken reports that nothing is known.
func Taken(uintptr) (bytes uint64, more, ok bool) { return 0, false, false }

// Unread reports that nothing is known.
func Unread(uintptr) (bytes int, ok bool) { return 0, false }
