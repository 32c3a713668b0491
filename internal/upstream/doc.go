// Package upstream is the side of the proxy that faces a worker: a pool of
// connections, and HTTP/1.1 exchanges, one at a time on each connection.
//
// net/http's Transport passes each exchange between three goroutines. Here the
// caller's goroutine writes the request and reads the response. A second one exists
// only while a body is being sent, and [Exchange.Wait] waits for it. The package
// accepts what net/http's Transport accepts as a response, except for what a test
// lists.
//
// A connection is reused only if both messages on it ended where they said they
// would and nothing follows. So nothing that a worker sends after its response is
// taken for the next one.
package upstream
