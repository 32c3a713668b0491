// Package socket makes system calls for sockets that package net does not offer, or
// makes them differently. They do not wait, and the scheduler does not learn of
// them. If it did, it would give the processor to another thread whenever a call
// takes some microseconds; that wakes one thread and puts another to sleep.
package socket

import (
	"io"
	"os"
	"syscall"
)

// Read reads what has arrived. Its error is [syscall.EAGAIN] if there is nothing,
// and [io.EOF] if nothing will arrive.
func Read(fd uintptr, p []byte) (int, error) {
	for {
		n, err := read(fd, p)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, syscall.EAGAIN
		case err != 0:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write writes as much as the kernel accepts. Its error is [syscall.EAGAIN] if that
// is not everything.
func Write(fd uintptr, p []byte) (n int, _ error) {
	for n < len(p) {
		k, err := write(fd, p[n:])
		switch {
		case err == 0:
			n += k
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return n, syscall.EAGAIN
		default:
			return n, os.NewSyscallError("write", err)
		}
	}
	return n, nil
}

// IsIdle reports whether a connection is open and has no input.
func IsIdle(fd uintptr) bool {
	var b [1]byte
	_, err := peek(fd, b[:])
	return err == syscall.EAGAIN
}

// HasInput reports whether a connection has input that was not read.
func HasInput(fd uintptr) bool {
	var b [1]byte
	n, err := peek(fd, b[:])
	return err == 0 && n > 0
}
