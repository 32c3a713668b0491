package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/accesslog"
	"tqserver/internal/message"
	"tqserver/internal/policy"
	"tqserver/internal/router"
	"tqserver/internal/upstream"
)

// Settings bound what a request may take. A timeout of 0 is none, but with a
// HoldTimeout of 0 no request waits.
type Settings struct {
	ReadTimeout  time.Duration // while nothing of a request body comes
	WriteTimeout time.Duration // until an answer begins, and while nothing of it moves
	HoldTimeout  time.Duration // for a worker to become ready
	MaxHeld      int           // requests that wait, a route

	TrustedProxies []netip.Prefix // whose X-Forwarded-* counts
	MinBodyRate    int            // bytes a second of a request body, after a grace of 10 s; 0 for any

	bodyGrace time.Duration // of tests; 0 for the usual one
}

// Proxy is the handler of all pages.
type Proxy struct {
	settings atomic.Pointer[Settings]
	paths    atomic.Pointer[router.Table[pathEntry]]
	files    atomic.Pointer[func(*http.Request) (http.Handler, bool)]
	record   atomic.Pointer[func(accesslog.Record)]
	develop  atomic.Pointer[Development]

	mu       sync.Mutex // guards what paths is made of
	policies *policy.Table
	routes   map[string]*Route
}

// pathEntry is what holds for the requests of a path, and where they go: nowhere if
// the route is nil.
type pathEntry struct {
	policy *policy.Policy
	route  *Route
}

// New returns a Proxy that knows no route.
func New(s Settings) *Proxy {
	p := &Proxy{policies: new(policy.Table)}
	p.Configure(s)
	p.setPathsLocked()
	p.SetFiles(func(*http.Request) (http.Handler, bool) { return nil, false })
	p.SetRecord(func(accesslog.Record) {})
	return p
}

// Configure changes the settings, from the next request on.
func (p *Proxy) Configure(s Settings) { p.settings.Store(&s) }

// SetRoutes changes where requests go, from the next request on: to the route of the
// longest path that theirs lies under, on whole segments. The map is not to be
// modified after that.
func (p *Proxy) SetRoutes(routes map[string]*Route) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.routes = routes
	p.setPathsLocked()
}

// SetPolicies changes what holds for requests, from the next request on.
func (p *Proxy) SetPolicies(policies *policy.Table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.policies = policies
	p.setPathsLocked()
}

// setPathsLocked joins routes and policies, so that a request looks up its path once.
func (p *Proxy) setPathsLocked() {
	routes := router.NewTable(p.routes)
	entries := make(map[string]pathEntry)
	add := func(path string) {
		route, _ := routes.Match(path)
		entries[path] = pathEntry{p.policies.Find(path), route}
	}
	add("/")
	for path := range p.routes {
		add(path)
	}
	for _, path := range p.policies.Paths() {
		add(path)
	}
	p.paths.Store(router.NewTable(entries))
}

// SetRecord changes who is told of every exchange when it has ended, from the next
// one that ends on. It is called by the goroutine of the request.
func (p *Proxy) SetRecord(record func(accesslog.Record)) { p.record.Store(&record) }

// ServeHTTP answers a request: its policy may refuse it, a file may be there for it,
// or the page whose route it falls under answers.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchanges.Get().(*exchange)
	x.start(w, r, p)
	defer p.finish(x)
	if refusal := x.admit(); refusal != nil {
		x.fail(&refusalError{refusal})
		return
	}
	if x.develop.reserves(r.URL.Path) {
		x.setNames(x.w.Header())
		x.develop.Reserved.ServeHTTP(x.w, r)
		return
	}
	x.find(p)
	wrapped, end := x.policy.Wrap(&x.view, x.w)
	if end == nil {
		p.serve(x)
		return
	}
	x.w = wrapped
	whole, ended := false, false
	defer func() {
		if !ended {
			x.flushCut()
		}
	}()
	defer func() { end(whole); ended = whole }()
	p.serve(x)
	whole = true
}

// find looks up what holds for the path of the request, and where it goes.
func (x *exchange) find(p *Proxy) {
	entry, _ := p.paths.Load().Match(x.view.Request.URL.Path)
	x.policy, x.route = entry.policy, entry.route
	if x.route != nil {
		x.view.Route = x.route.Name
	}
}

// serve answers a request whose policy and route are known.
func (p *Proxy) serve(x *exchange) {
	if refusal := x.policy.Check(&x.view); refusal != nil {
		x.fail(&refusalError{refusal})
		return
	}
	if p.serveFile(x) {
		return
	}
	if x.route == nil {
		x.fail(&refusalError{&notFound})
		return
	}
	x.holdForNewer()
	if refusal := x.acquire(); refusal != nil {
		x.fail(&refusalError{refusal})
		return
	}
	x.watch(true)
	x.forward()
}

var notFound = policy.Refusal{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no page here."}

// finish ends an exchange and has it recorded.
func (p *Proxy) finish(x *exchange) {
	if x.policy == nil { // it was refused, or answered, before
		x.find(p)
	}
	r := x.accessRecord() // the backend is given back in a moment
	x.finish(r.Took)
	(*p.record.Load())(r)
	x.recycle()
}

// beginResponse notes that the worker's answer began, before the client sees it.
func (x *exchange) beginResponse(resp *http.Response) {
	required := resp.Header["Upgrade"]
	message.RemoveHopByHop(resp.Header)
	x.setNames(resp.Header)
	if x.develop != nil {
		x.setOrigin(resp.Header)
	}
	if resp.StatusCode == http.StatusUpgradeRequired && len(required) > 0 {
		resp.Header["Connection"], resp.Header["Upgrade"] = []string{"Upgrade"}, required // it must say which (RFC 9110 section 15.5.22)
	}
	if x.body.pending() {
		closeConnection(resp.Header)
	}
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	x.response = responseBody{ReadCloser: resp.Body, x: x}
	resp.Body = &x.response
	x.setStatus(resp.StatusCode, strings.EqualFold(strings.TrimSpace(media), "text/event-stream"))
}

// beginUpgraded notes that the worker's connection is another protocol's now.
func (x *exchange) beginUpgraded(resp *http.Response, protocols []string) *upgradedConn {
	h := resp.Header
	message.RemoveHopByHop(h)
	delete(h, "Content-Length") // RFC 9110 section 8.6
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{strings.Join(protocols, ", ")}
	x.setNames(h)
	if x.develop != nil {
		x.setOrigin(resp.Header)
	}
	x.upgraded = &upgradedConn{Duplex: resp.Body.(*upstream.Duplex), x: x}
	if strings.EqualFold(h.Get("Upgrade"), "websocket") {
		x.upgraded.frames = new(frames)
	}
	x.route.traffic.upgraded.Add(1)
	x.setStatus(resp.StatusCode, true)
	return x.upgraded
}

// setStatus notes the status of the worker's answer, and whether the rest of it
// has no end of its own.
func (x *exchange) setStatus(status int, stream bool) {
	x.status, x.stream = status, stream
	x.responding.Store(true)
	x.moved()
	if stream {
		x.backend.addStream(x)
	}
}

// fail answers in a worker's place.
func (x *exchange) fail(err error) {
	if patience := x.settings.WriteTimeout; patience > 0 {
		x.client.SetWriteDeadline(time.Now().Add(patience))
	}
	x.setNames(x.w.Header())
	if x.body.pending() {
		closeConnection(x.w.Header())
	}
	refusal := x.failure(err)
	x.status = refusal.Status
	x.writeRefusal(refusal)
}

// failure is what to tell a client of an error. If it has left it is told
// nothing: failure panics with [http.ErrAbortHandler].
func (x *exchange) failure(err error) policy.Refusal {
	cause := x.why()
	var refusal *refusalError
	switch fault := x.body.fault(); {
	case errors.As(err, &refusal):
		return *refusal.Refusal
	case fault != nil: // before it is taken for the client's leaving
		return policy.Refusal{Status: fault.Status, Title: http.StatusText(fault.Status), Detail: fault.Reason}
	case cause == errSlowClient:
		return policy.Refusal{Status: http.StatusRequestTimeout, Title: "Request timeout", Detail: "The client stopped sending the request body, or sent it too slowly."}
	case err == errTooLarge, cause == errTooLarge:
		return policy.BodyTooLarge
	case cause == errSlowWorker:
		return policy.Refusal{Status: http.StatusGatewayTimeout, Title: "Gateway timeout", Detail: "The page did not respond in time."}
	case cause != nil, x.body.broken() && errors.Is(err, io.ErrUnexpectedEOF):
		panic(http.ErrAbortHandler)
	case x.body.broken():
		return policy.Refusal{Status: http.StatusBadRequest, Title: "Bad request", Detail: "The request body could not be read."}
	}
	return policy.Refusal{Status: http.StatusBadGateway, Title: "Bad gateway", Detail: "The page exited before it responded, or its response could not be read."}
}

// closeConnection ends the client's connection after an answer that came before the
// request's body, of which nobody will read what is left.
func closeConnection(h http.Header) { h.Add("Connection", "close") }
