// Package state is the vocabulary that every front end speaks, and the store
// behind it.
//
// The engine publishes, front ends look: a page's actor publishes whole new
// [Page] values, never deltas, and a front end follows with a cursor, the
// number of the last thing it saw. Nothing is handed out that has to be given
// back, and no reader, however slow, holds up a writer: one that fell too far
// behind is told so ([Update.Gap]) and goes on from a fresh [Snapshot].
//
// The package starts no goroutine and imports the standard library only.
package state
