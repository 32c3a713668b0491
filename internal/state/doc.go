// Package state is the vocabulary of all front ends, and the store behind it.
//
// The engine publishes and front ends read. A page's actor publishes whole new
// [Page] values, never deltas. A reader follows with a [Cursor], which says how far it
// has come, and needs to give nothing back. No reader can delay a writer: one that fell
// too far behind, or comes from another server, gets an [Update] with Gap and starts
// again from its [Snapshot]. [Follow], [Update.Items] and [Mirror] are the common part
// of all readers. A front end acts through the [Command]s of one table.
//
// Front ends may be near or far, so every value goes through JSON and comes back equal,
// except that text becomes valid UTF-8 and an empty slice may come back as nil. Times
// are in RFC 3339, durations in seconds.
//
// The package starts no goroutine and imports only the standard library.
package state
