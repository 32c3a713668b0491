// Package wire is the side of a connection that faces the client. It reads
// requests before net/http does, and lets through only what has one meaning:
// whoever reads such a request, here or behind us, sees the same request end at
// the same byte.
//
// What is refused still reaches the handler, as a request that [Refused] knows,
// so that the answer to it comes in its turn, in our own form, and is noted as
// every other one is. After it the connection is closed.
//
// The package also owns what a connection may cost: how long it may take for a
// header and between requests, and how many there may be. A [Conn] is read by one
// goroutine at a time, as net/http does; what others may call says so. It starts
// one of its own only to see a client hang up whose request takes long; that ends
// before the next read.
package wire
