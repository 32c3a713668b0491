// Package build makes a page's binary with the go command, and knows which
// pages a changed file concerns.
//
// A binary that was made once is used again while every file that went into it
// has the same content: a second start compiles nothing, undoing an edit is
// instant, and neither needs a go command. What went into it is asked of
// "go list" after the build ([Builder.Learn]), beside the path from save to
// swap.
//
// Most saves change nothing but bodies of functions in the page itself: those
// are built as the go command built before, but without it (plan.go).
//
// The package starts no goroutine of its own. What it runs has ended, with its
// whole process group, when the call returns.
package build
