package proxy

import (
	"crypto/rand"
	"net/http"
	"net/netip"

	"tqserver/internal/upstream"
)

// identity is what a request is called and who sent it.
type identity struct {
	id          string // X-Request-ID
	traceparent string // of the span that the exchange is
	tracestate  string // of those before it, or empty

	peer       netip.Addr // at the other end of the connection
	trusted    bool       // the peer is one of Settings.TrustedProxies
	clientAddr netip.Addr // who asks, as far as trusted proxies know
	scheme     string     // by which the client asks, http or https
}

// identify finds out who sent a request and names it.
func identify(r *http.Request, trusted []netip.Prefix) identity {
	who := identity{id: requestID(r.Header["X-Request-Id"]), scheme: "http"}
	who.traceparent, who.tracestate = continueTrace(r.Header["Traceparent"], r.Header["Tracestate"])
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		who.peer = bare(peer.Addr())
	}
	who.trusted = contains(trusted, who.peer)
	who.clientAddr = who.peer
	if r.TLS != nil {
		who.scheme = "https"
	}
	if who.trusted {
		who.clientAddr = clientAddr(who.peer, r.Header["X-Forwarded-For"], trusted)
		if proto, ok := forwardedProto(r.Header["X-Forwarded-Proto"]); ok {
			who.scheme = proto
		}
	}
	return who
}

// setNames puts the names of a request into the header of its answer, in the place
// of what a worker may have put there.
func (who *identity) setNames(h http.Header) {
	h["X-Request-Id"], h["Traceparent"] = []string{who.id}, []string{who.traceparent}
}

// replaces reports whether a field is one that tell writes, whatever the client
// sent.
func (who *identity) replaces(name string) bool {
	switch name {
	case "X-Request-Id", "Traceparent", "Tracestate", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host":
		return true
	}
	return false
}

// appendFields appends who sent a request, and what it is called, to the fields that the
// worker sees.
func (who *identity) appendFields(in *http.Request, fields []upstream.Field) []upstream.Field {
	fields = append(fields, upstream.Field{Name: "X-Request-Id", Value: who.id}, upstream.Field{Name: "Traceparent", Value: who.traceparent})
	if who.tracestate != "" {
		fields = append(fields, upstream.Field{Name: "Tracestate", Value: who.tracestate})
	}
	return who.appendForwarded(in, fields)
}

// requestID keeps what a client calls its request if that is harmless, or
// makes a name that nobody can guess.
func requestID(sent []string) string {
	if len(sent) != 1 || sent[0] == "" || len(sent[0]) > 128 {
		return rand.Text()
	}
	for _, c := range []byte(sent[0]) {
		if c <= ' ' || c > '~' {
			return rand.Text()
		}
	}
	return sent[0]
}
