package main

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// The heap of a server is so small that by its own measure it would be collected
// every few MiB, and each collection holds up the requests that come meanwhile.
// The ballast makes it look larger: some 20 MiB are left behind from one
// collection to the next, and of what a flood or a crowd adds half of it.
const (
	ballastSize   = 40 << 20
	percentOfThat = 50 // and of what is in use beside it

	percentWithout = 400
)

// collectSeldom returns the ballast, which works while it is kept. It takes no
// memory, as nobody touches it. How often garbage is collected is the user's choice
// if there is one, and a limit of the user's, against which the ballast would
// count, does without (package runtime, "Environment Variables").
func collectSeldom() (ballast []byte) {
	switch {
	case os.Getenv("GOGC") != "":
		return nil
	case os.Getenv("GOMEMLIMIT") != "":
		debug.SetGCPercent(percentWithout)
		return nil
	}
	debug.SetGCPercent(percentOfThat)
	ballast = make([]byte, ballastSize)
	unix.Madvise(ballast, unix.MADV_DONTNEED) // the runtime may have cleared it; it stays zero
	return ballast
}
