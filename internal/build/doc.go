// Package build makes a page's binary with the go command, and knows which
// pages a changed file concerns.
//
// A binary that was made once is used again while every file that went into it
// has the same content: a second start compiles nothing, undoing an edit is
// instant, and neither needs a go command. What went into it is asked of
// "go list" while it is built, unless import clauses say that it is what it was,
// and is on disk when [Builder.Build] returns.
//
// Pages that need the compiler at the same time are built by one go command
// (queue.go, batch.go), and each is there as soon as it is made.
//
// Most saves change nothing but bodies of functions in the page itself: those
// are built as the go command built before, but without it (plan.go).
//
// What a call of Build runs has ended, with its whole process group, when the call
// returns. A go command that builds several pages ends before the last of their
// calls returns.
package build
