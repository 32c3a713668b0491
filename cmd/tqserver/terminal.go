package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// inForeground reports whether we may read from a terminal: a job in the
// background would be stopped.
func inForeground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
