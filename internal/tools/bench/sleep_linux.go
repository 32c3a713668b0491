package main

import (
	"syscall"
	"time"
)

// sleepPrecisely waits in the kernel: the runtime's timers are late by up to a millisecond.
func sleepPrecisely(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	syscall.Nanosleep(&ts, nil)
}
