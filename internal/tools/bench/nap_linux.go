package main

import (
	"syscall"
	"time"
)

// nap waits in the kernel: the runtime's timers are late by up to a millisecond.
func nap(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	syscall.Nanosleep(&ts, nil)
}
