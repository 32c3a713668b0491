// Package build makes a page's binary with the go command, and knows which
// pages a changed file concerns.
//
// A binary is used again while all its inputs have the same content: a second start
// compiles nothing, undoing an edit is instant, and neither needs a go command
// (entries.go). "go list" determines the inputs while the page is built, unless the
// import clauses have not changed; they are on disk when [Builder.Build] returns.
//
// One go command builds all pages that need the compiler at the same time
// (queue.go, batch.go). Each page is ready as soon as it is made.
//
// Most saves change only bodies of functions in the page itself. For these the
// commands of the compiler and the linker are run directly (plan.go).
//
// When a call of Build returns, everything that it started has ended, with its whole
// process group. A go command that builds several pages ends before the last of
// their calls returns.
package build
