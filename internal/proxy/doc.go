// Package proxy is the front door: it finds the route of a request, holds the
// request while nobody can serve it, picks a backend, forwards, and retries
// where that is safe.
//
// It owns who serves. Who lives is another's business: a [Route] is told
// three things, Serve, Hold and Refuse, and tells when a backend may be
// stopped. A backend is an address with a counter. Claiming one is a
// compare-and-swap on a word that holds both "draining" and the number of
// requests under way, so that a draining backend cannot be claimed.
//
// A request that need not wait takes no lock on its way to a backend; which
// backend serves is decided for each request, not for each connection. The
// package starts no goroutine that outlives the request it was started for.
package proxy
