// Package wire is the side of a connection that faces the client: a server of
// HTTP/1.1. It lets through only requests that have one meaning: whoever reads
// such a request, here or behind us, sees the same request end at the same byte.
//
// What is refused still reaches the handler, as a request that [RefusalOf] knows,
// so that the answer to it comes in its turn, in our own form, and is noted as
// every other one is. After it the connection is closed.
//
// One goroutine serves a connection: it waits for a request, without a buffer
// meanwhile, reads it, calls the handler, and sends what that has written, in one
// piece if it can. Handlers see the request that net/http would show them, and
// what they say reaches the client as it does by net/http's server, which tests
// compare.
//
// The package also owns what a connection may cost: how long it may take for a
// header and between requests, and how many there may be. A [Conn] is read by one
// goroutine at a time; what others may call says so. It starts one of its own only
// to see a client hang up whose request takes long; that ends before the next read.
package wire
