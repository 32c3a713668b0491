// Package calm keeps Bubble Tea from querying the colours of the terminal while the
// program starts.
//
// Bubble Tea v1 does so when it is initialised (its tea_init.go), whether or not there
// will be a screen. The query would reach the terminal of a server with -quiet, and the
// reply may take up to 5 s. Termenv queries no terminal whose TERM is dumb, so this
// package sets TERM to dumb until [Restore].
//
// This works because Go initialises packages whose imports are initialised in the order
// of their paths (the Go specification, Package initialization;
// go.dev/doc/go1.21#language). This package imports only os, which all of Bubble Tea
// imports too, together with unicode, which comes later in that order.
package calm

import "os"

var before, had = makeDumb()

func makeDumb() (string, bool) {
	term, ok := os.LookupEnv("TERM")
	os.Setenv("TERM", "dumb")
	return term, ok
}

// Restore restores TERM and returns true. Call it in the initialisation of a package
// that imports Bubble Tea.
func Restore() bool {
	if had {
		os.Setenv("TERM", before)
	} else {
		os.Unsetenv("TERM")
	}
	return true
}
