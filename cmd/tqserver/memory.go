package main

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// The heap of a server is so small that Go would collect it every few MiB, and each
// collection delays requests. The ballast makes the heap look larger: some 20 MiB are
// allocated between two collections, and half of what a flood or many clients add.
const (
	ballastSize        = 40 << 20
	percentWithBallast = 50 // and of what is in use beside it

	percentWithoutBallast = 400
)

// setGarbageCollection sets how often garbage is collected and returns the ballast,
// which must be kept alive. The ballast uses no memory, because nobody touches it. If
// the user sets GOGC, that counts. With GOMEMLIMIT there is no ballast, because it
// would count against that limit (package runtime, "Environment Variables").
func setGarbageCollection() (ballast []byte) {
	switch {
	case os.Getenv("GOGC") != "":
		return nil
	case os.Getenv("GOMEMLIMIT") != "":
		debug.SetGCPercent(percentWithoutBallast)
		return nil
	}
	debug.SetGCPercent(percentWithBallast)
	ballast = make([]byte, ballastSize)
	unix.Madvise(ballast, unix.MADV_DONTNEED) // the runtime may have cleared it; it stays zero
	return ballast
}
