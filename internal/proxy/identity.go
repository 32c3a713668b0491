package proxy

import (
	"crypto/rand"
	"net/http"
	"net/netip"

	"tqserver/internal/upstream"
)

// identity is how a request is named and who sent it.
type identity struct {
	id          string // X-Request-ID
	traceparent string // of the span that the exchange is
	tracestate  string // of those before it, or empty

	peer    netip.Addr // at the other end of the connection
	trusted bool       // the peer is one of Settings.TrustedProxies
	scheme  string     // of the client's URL, http or https
}

// identify names a request and finds out who sent it: client is the address of that, as
// far as trusted proxies know.
func identify(r *http.Request, trusted []netip.Prefix) (who identity, client netip.Addr) {
	who = identity{id: requestID(r.Header["X-Request-Id"]), scheme: "http"}
	who.traceparent, who.tracestate = continueTrace(r.Header["Traceparent"], r.Header["Tracestate"])
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		who.peer = bare(peer.Addr())
	}
	if r.TLS != nil {
		who.scheme = "https"
	}
	if who.trusted = contains(trusted, who.peer); !who.trusted {
		return who, who.peer
	}
	if proto, ok := forwardedProto(r.Header["X-Forwarded-Proto"]); ok {
		who.scheme = proto
	}
	return who, clientAddr(who.peer, r.Header["X-Forwarded-For"], trusted)
}

// replaces reports whether appendFields appends a field, whatever the client sent.
func (who *identity) replaces(name string) bool {
	switch name {
	case "X-Request-Id", "Traceparent", "Tracestate", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host":
		return true
	}
	return false
}

// appendFields appends the fields that tell the worker how a request is named and who
// sent it.
func (who *identity) appendFields(in *http.Request, fields []upstream.Field) []upstream.Field {
	fields = append(fields, upstream.Field{Name: "X-Request-Id", Value: who.id}, upstream.Field{Name: "Traceparent", Value: who.traceparent})
	if who.tracestate != "" {
		fields = append(fields, upstream.Field{Name: "Tracestate", Value: who.tracestate})
	}
	return who.appendForwarded(in, fields)
}

// requestID returns the name that a client gave its request if that is harmless, or a
// name that nobody can guess.
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
