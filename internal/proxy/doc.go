// Package proxy serves all requests. A request is admitted, which gives it one form and
// its identity; the policy and the route of its path are looked up; the gates of the
// policy may refuse it; a file may be there for it; otherwise the route's page answers.
// The proxy holds a request while no worker can serve it, claims a backend, forwards,
// and retries where that is safe. An [exchange] is one request's stay here.
//
// The proxy decides which worker serves, and others decide which workers live: they
// call Serve, Hold and Refuse of a [Route], and learn from a [Backend] when its worker
// may be stopped. To claim a backend is a compare-and-swap on a word that holds both
// "draining" and the number of requests under way, so that a draining backend cannot be
// claimed.
//
// A request that need not wait takes no lock on its way to a backend, unless its page
// has a breaker or is about to try an ejected worker. A policy of package balance
// chooses the backend for each attempt of a request, not for each connection. The package starts no goroutine
// that outlives the request that it was started for.
package proxy
