// Package calm keeps the terminal from being asked for its colours while the
// program starts.
//
// Bubble Tea v1 does that when it is initialised (its tea_init.go), whether or
// not there will be a screen. The question would reach the terminal of a
// server that was told to be quiet, and the answer may take up to 5 s. Termenv
// asks nobody whose TERM is dumb, so that is what TERM is until [Restore].
//
// This works because a package is initialised before those that it does not
// need and that sort behind it or are not ready (the Go specification, Package
// initialization; go.dev/doc/go1.21#language). This one needs nothing but os,
// which everything of Bubble Tea needs too, and package unicode besides, which
// sorts behind this one.
package calm

import "os"

var before, had = hush()

func hush() (string, bool) {
	term, ok := os.LookupEnv("TERM")
	os.Setenv("TERM", "dumb")
	return term, ok
}

// Restore gives TERM its value back. It is for the initialisation of a package
// that imports Bubble Tea, and returns true.
func Restore() bool {
	if had {
		os.Setenv("TERM", before)
	} else {
		os.Unsetenv("TERM")
	}
	return true
}
