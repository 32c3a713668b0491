// Package upstream is the side of the proxy that faces a worker: a pool of
// connections to it, and one exchange at a time on each of them, in HTTP/1.1.
//
// net/http's Transport hands every exchange between three goroutines. Here the
// goroutine that asks also writes the request and reads the answer; a second one
// is there only while a body is being sent, and [Exchange.Wait] waits for it.
// What is taken for an answer is what net/http's Transport takes for one, but for
// what a test lists.
//
// A connection is used again only when both messages on it have ended where
// they said they would, and nothing follows: whatever a worker says beyond its
// answer is never taken for the next one.
package upstream
