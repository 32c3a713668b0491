package proxy

import (
	"maps"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/accesslog"
	"tqserver/internal/policy"
	"tqserver/internal/router"
)

// Settings bound what a request may take. A timeout of 0 is none, but with a
// HoldTimeout of 0 no request waits.
type Settings struct {
	ReadTimeout  time.Duration // while nothing of a request body comes
	WriteTimeout time.Duration // until a response begins, and while nothing of it moves
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

// SetRecord changes what is called when an exchange has ended, from the next one that
// ends on. The goroutine of the request calls it.
func (p *Proxy) SetRecord(record func(accesslog.Record)) { p.record.Store(&record) }

// ServeHTTP serves a request: its policy may refuse it, there may be a file for it, or
// the page answers whose route it falls under.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchanges.Get().(*exchange)
	x.start(w, r, p)
	defer p.finish(x)
	if refusal := x.in.admit(); refusal != nil {
		x.refuse(refusal)
		return
	}
	if x.develop.reserves(r.URL.Path) {
		maps.Copy(x.in.w.Header(), x.in.Header)
		x.develop.Reserved.ServeHTTP(x.in.w, r)
		return
	}
	x.find(p)
	wrapped, end := x.policy.Wrap(&x.in.Exchange, x.in.w)
	if end == nil {
		p.serve(x)
		return
	}
	x.in.w = wrapped
	whole, ended := false, false
	defer func() {
		if !ended {
			x.in.flushCut()
		}
	}()
	defer func() { end(whole); ended = whole }()
	p.serve(x)
	whole = true
}

// serve serves a request whose policy and route are known.
func (p *Proxy) serve(x *exchange) {
	if refusal := x.policy.Check(&x.in.Exchange); refusal != nil {
		x.refuse(refusal)
		return
	}
	if p.serveFile(x) {
		return
	}
	if x.wait.route == nil {
		x.refuse(&notFound)
		return
	}
	if x.develop != nil {
		x.wait.forNewer(x.develop.HoldNavigations)
	}
	if refusal := x.acquire(); refusal != nil {
		x.refuse(refusal)
		return
	}
	x.stall.watch(true)
	x.relay.forward()
}

var notFound = policy.Refusal{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no page here."}

// pathOf returns what is known of the path of a request.
func (p *Proxy) pathOf(r *http.Request) pathEntry {
	entry, _ := p.paths.Load().Match(r.URL.Path)
	return entry
}

// finish ends an exchange and has it recorded.
func (p *Proxy) finish(x *exchange) {
	if x.policy == nil { // it ended before any was found
		x.policy = p.pathOf(x.in.Request).policy
	}
	r := x.accessRecord() // while it has its backend
	x.finish(r.Took)
	(*p.record.Load())(r)
	x.recycle()
}
