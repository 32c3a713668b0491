package proxy

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"tqserver/internal/balance"
	"tqserver/internal/policy"
	"tqserver/internal/secret"
)

// Balance is how a route spreads its requests over its backends, and spares those that
// fail, and the page. It is comparable. The zero value gives a request to a backend with
// the fewest requests, and spares none.
type Balance struct {
	Policy    string     // one of [balance.Names]
	CookieKey secret.Key // that the policy signs cookies with

	EjectFailures int           // bad ends in a row that eject a backend; 0 for never
	EjectTime     time.Duration // until a request tries it, the first time

	BreakerPercent     int           // of the requests, that must fail to open the breaker; 0 for none
	BreakerMinRequests int           // that there must be in a window
	BreakerWindow      time.Duration // in which requests count
	BreakerOpen        time.Duration // until a request tries the page
}

// balancing is what a route has of a Balance. It does not change, but for the breaker.
type balancing struct {
	limits  Balance
	policy  balance.Policy
	marks   bool     // the policy chooses even if there is one backend
	breaker *breaker // nil for none; guarded by the route's mu
}

// SetBalance changes how requests are spread, from the next one on. What is known of
// the page is forgotten if the breaker's settings change.
func (r *Route) SetBalance(b Balance) {
	old := r.balancing
	if old != nil && old.limits == b {
		return
	}
	next := newBalancing(b, r.Name)
	if old != nil && sameBreaker(old.limits, b) {
		next.breaker = old.breaker
	}
	r.balancing = next
	if s := r.current(); len(s.backends) > 0 {
		r.setState(&routeState{backends: s.backends, newest: s.newest})
	}
	r.changed()
}

func newBalancing(b Balance, route string) *balancing {
	n := &balancing{limits: b}
	n.policy, n.marks = balance.New(b.Policy, balance.Options{Route: route, Key: b.CookieKey})
	if b.BreakerPercent > 0 {
		n.breaker = newBreaker(&n.limits, time.Now())
	}
	return n
}

func sameBreaker(a, b Balance) bool {
	return a.BreakerPercent == b.BreakerPercent && a.BreakerMinRequests == b.BreakerMinRequests && a.BreakerWindow == b.BreakerWindow && a.BreakerOpen == b.BreakerOpen
}

// Balancing is how requests are spread now.
type Balancing struct {
	Backends     []BackendState
	Breaker      BreakerState
	BreakerUntil time.Time // of an open one: when a request tries the page
}

// BackendState is how a backend that serves does.
type BackendState struct {
	Seat, InFlight int
	EjectedUntil   time.Time // zero if it gets requests
	Trying         bool      // a request tries it
}

// Balancing returns how requests are spread now. When anything of it but the requests
// has changed, Changed gets a value.
func (r *Route) Balancing() Balancing {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.current()
	var all Balancing
	for _, b := range s.backends {
		all.Backends = append(all.Backends, BackendState{b.seat, b.InFlight(), b.ejection.until, b.ejection.trying})
	}
	if s.balancing != nil && s.balancing.breaker != nil {
		all.Breaker, all.BreakerUntil = s.balancing.breaker.state, s.balancing.breaker.until
	}
	return all
}

// changed says that Balancing returns something else.
func (r *Route) changed() {
	select {
	case r.Changed <- struct{}{}:
	default:
	}
}

// attempts is a request's way through the backends of its route.
type attempts struct {
	balance.Request             // as the policy sees it
	tried           balance.Set // seats whose backend could not be sent the request, or cut it
	trial           bool        // the backend that it has is out, and this is the request that tries it
	end             end         // of the exchange with that backend
	breaker         *breaker    // that admitted the request, or nil
	phase           uint64      // of the breaker, then
}

// choose claims a backend as the policy says, or returns the refusal of the breaker.
// The policy chooses first from those that neither are out nor were tried, with those
// that this request may try. What it prefers to none at all comes after that: a last
// backend serves however it does.
func (r *Route) choose(s *routeState, a *attempts) (*Backend, *policy.Refusal) {
	if s.balancing.breaker != nil && a.breaker == nil {
		if refusal := r.admit(s.balancing.breaker, a); refusal != nil {
			return nil, refusal
		}
	}
	a.SetCookie = ""
	all, out, tried := balance.First(len(s.backends)), balance.Set(s.out.Load()), s.triedBy(a)
	var due balance.Set
	if out != 0 {
		due = r.due(s, a) & out
	}
	for _, open := range [...]balance.Set{all&^out&^tried | due, tried &^ out, out} {
		for open != 0 {
			i := s.balancing.policy.Choose(&a.Request, s.workers, open)
			b := s.backends[i]
			if due.Has(i) && !r.startTrial(b, a) {
				open = open.Without(i)
				continue
			}
			if b.claim() {
				return b, nil
			}
			r.ended(b, a) // a trial, if it is one
			open = open.Without(i)
		}
	}
	return nil, nil
}

// triedBy returns the backends that a request has tried.
func (s *routeState) triedBy(a *attempts) (tried balance.Set) {
	if a.tried == 0 {
		return 0
	}
	for i, b := range s.backends {
		if a.tried.Has(b.seat) {
			tried = tried.With(i)
		}
	}
	return tried
}

// hasOther reports whether there is a backend that is not out and that the request has
// not tried.
func (r *Route) hasOther(a *attempts) bool {
	s := r.current()
	for i, b := range s.backends {
		if !balance.Set(s.out.Load()).Has(i) && !a.tried.Has(b.seat) {
			return true
		}
	}
	return false
}

// due returns the backends that are out and that a request may try.
func (r *Route) due(s *routeState, a *attempts) (due balance.Set) {
	now := time.Now()
	if now.UnixNano() < s.due.Load() || !isHarmless(a.HTTP) {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range s.backends {
		if b.ejection.canTry(now) {
			due = due.With(i)
		}
	}
	return due
}

// isHarmless reports whether a request may try a backend: it can be repeated, and its
// response ends soon.
func isHarmless(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.ContentLength == 0 &&
		upgradeOf(r.Header) == nil && !strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// startTrial has a request try a backend that is out, unless another does by now.
func (r *Route) startTrial(b *Backend, a *attempts) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !b.ejection.canTry(time.Now()) {
		return false
	}
	b.ejection.trying, a.trial = true, true
	r.noteOutLocked(r.current())
	r.changed()
	return true
}

// ended notes how a request's exchange with a backend ended.
func (r *Route) ended(b *Backend, a *attempts) {
	how, trial := a.end, a.trial
	a.end, a.trial = unknownEnd, false
	if !trial && (how == unknownEnd || how == goodEnd && !b.suspect.Load()) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.current()
	at := slices.Index(s.backends, b)
	if at < 0 || s.balancing == nil {
		return
	}
	last := balance.First(len(s.backends))&^balance.Set(s.out.Load())&^(1<<at) == 0
	wasOut, wasTrying := b.ejection.isOut(), b.ejection.trying
	b.ejection.ended(how, trial, last, time.Now(), &s.balancing.limits)
	b.suspect.Store(b.ejection.failures > 0 || b.ejection.isOut())
	if b.ejection.isOut() != wasOut || b.ejection.trying != wasTrying {
		r.noteOutLocked(s)
		r.changed()
	}
}

// noteOutLocked notes in a state which backends are out, and when one can be tried.
func (r *Route) noteOutLocked(s *routeState) {
	var out balance.Set
	due := int64(math.MaxInt64)
	for i, b := range s.backends {
		if b.ejection.isOut() {
			out = out.With(i)
			if !b.ejection.trying {
				due = min(due, b.ejection.until.UnixNano())
			}
		}
	}
	s.due.Store(due)
	s.out.Store(uint64(out))
}

// readmitLocked readmits all backends of a state if ejection is off, or no other is
// left.
func (s *routeState) readmitLocked() {
	off := s.balancing == nil || s.balancing.limits.EjectFailures == 0
	if off || !slices.ContainsFunc(s.backends, func(b *Backend) bool { return !b.ejection.isOut() }) {
		for _, b := range s.backends {
			b.ejection.readmit(time.Now())
			b.suspect.Store(false)
		}
	}
}

// admit returns nil if the breaker lets a request go to the page.
func (r *Route) admit(b *breaker, a *attempts) *policy.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, before := time.Now(), b.state
	phase, ok := b.admit(now)
	if b.state != before {
		r.changed()
	}
	if !ok {
		retry := b.until
		if !retry.After(now) {
			retry = now.Add(time.Second) // another request tries the page
		}
		return &policy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page fails too often", Detail: "It gets no requests for a moment. Try again then.", RetryAt: retry}
	}
	a.breaker, a.phase = b, phase
	return nil
}

// settle tells the breaker that admitted a request how that ended. Later calls do
// nothing.
func (r *Route) settle(a *attempts, how end) {
	b := a.breaker
	if b == nil || a.phase == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := b.state
	b.ended(a.phase, how, time.Now())
	a.phase = 0
	if b.state != before {
		r.changed()
	}
}

// endOf returns how a status ends a request for the breaker: a page's own, or one of
// ours in its place.
func endOf(status int, ours bool) end {
	switch {
	case ours && status != http.StatusBadGateway && status != http.StatusGatewayTimeout:
		return unknownEnd
	case status >= http.StatusInternalServerError:
		return badEnd
	}
	return goodEnd
}
