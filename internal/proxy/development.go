package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Development is what the proxy does besides in development. Its functions may be nil.
// The goroutines of requests call them.
type Development struct {
	// HoldNavigations is how long a navigation waits for a newer version of its
	// page that is under way.
	HoldNavigations time.Duration

	// Reserved serves the requests below ReservedPath, which ends with a slash. They meet
	// no gates and no writers.
	Reserved     http.Handler
	ReservedPath string

	// Explain returns the body of a refusal, or leaves it to the proxy. It may say what
	// only a developer should know, and may wait for that until the context ends.
	Explain func(context.Context, Refused) (body string, ok bool)
}

// Refused is a request that the server refuses in its page's place.
type Refused struct {
	Route     string // empty if it has none
	Status    int
	Form      string // of the body: text/html, application/problem+json or text/plain
	RequestID string
	Began     time.Time
	Worker    int // PID of the one that had the request; 0 if none had
}

// SetDevelopment switches development on or, with nil, off, from the next request on.
func (p *Proxy) SetDevelopment(d *Development) { p.develop.Store(d) }

func (d *Development) reserves(path string) bool {
	return d != nil && d.Reserved != nil && strings.HasPrefix(path, d.ReservedPath)
}

// firstHoldTimeout is how long a navigation waits in development for a page that
// never served: then its tab can show how far the build is.
const firstHoldTimeout = 300 * time.Millisecond

// isNavigation reports whether a tab waits for its new content, in development.
func (x *exchange) isNavigation() bool {
	return x.develop != nil && x.in.Document
}

// documentFields are what isForDocument decides by.
const documentFields = "Sec-Fetch-Mode, Sec-Purpose, Accept, Upgrade-Insecure-Requests"

// isForDocument reports whether a request is for what a tab or a frame is to show.
//
// Browsers say so in Sec-Fetch-Mode (W3C Fetch Metadata section 2.2), also if a
// service worker passes the request on, which changes Sec-Fetch-Dest; what they
// fetch ahead may be shown later. To an insecure origin that is not this machine,
// as to a phone's browser in the local network, they do not say it. Navigations
// accept HTML and upgraded connections there, and no script's request does both:
// fetch accepts anything, and libraries that accept HTML request no upgrade.
func isForDocument(h http.Header) bool {
	switch h.Get("Sec-Fetch-Mode") {
	case "navigate":
		return true
	case "":
		return h.Get("Upgrade-Insecure-Requests") == "1" && preferredForm(strings.Join(h["Accept"], ",")) == "text/html"
	}
	return strings.HasPrefix(h.Get("Sec-Purpose"), "prefetch")
}

// setOrigin says in a response's header which build it comes from, and where its time
// went (W3C Server Timing section 3).
func (x *exchange) setOrigin(h http.Header) {
	build := x.relay.backend.build
	if x.wait.route.current().newest == NewerBroken {
		build += "; stale"
	}
	h.Set("X-Tq-Build", build)
	x.vary(h)
	h.Add("Server-Timing", fmt.Sprintf("hold;dur=%s, queue;dur=%s, worker;dur=%s",
		milliseconds(x.wait.heldFor), milliseconds(x.wait.queuedFor), milliseconds(time.Since(x.relay.claimed))))
}

// vary keeps caches from giving a tab the HTML that a script fetched.
func (x *exchange) vary(h http.Header) {
	if x.develop != nil && strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		h.Add("Vary", documentFields)
	}
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond))
}
