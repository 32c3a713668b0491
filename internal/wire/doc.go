// Package wire is an HTTP/1.1 server for the connections of clients. It accepts
// only requests that have exactly one meaning: every program that reads an accepted
// request, here or behind the server, sees it end at the same byte.
//
// A request that is refused still reaches the handler, as a stand-in that
// [RefusalOf] recognizes. So its response is sent in its turn, in the server's own
// form, and is logged like every other. The connection is closed after it.
//
// Each connection has one goroutine. It waits for a request, without a buffer, then
// reads it, calls the handler, and sends the response, in one piece if possible. A
// handler sees the request that net/http would show it, and its response reaches
// the client as it would from net/http's server; tests compare the two.
//
// The package also limits what a connection may cost: the time for a header and
// between requests, and the number of connections. One goroutine at a time reads
// from a [Conn]; a method that any goroutine may call says so. A Conn starts a
// second goroutine only to notice that the client of a long request disconnects,
// and that goroutine ends before the next read.
package wire
