package proxy

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/balance"
	"tqserver/internal/policy"
)

// soon is how near the next start of a crashed page must be for requests to wait for
// it.
const soon = 2 * time.Second

// Route is where the requests of one page go. The zero Route holds them. One goroutine
// changes it, and all may read it.
type Route struct {
	Name    string          // of the page, its path; not modified
	Demand  chan<- struct{} // gets a value, if there is room, when a request begins to wait; not modified
	Changed chan<- struct{} // gets a value, if there is room, when Balancing has changed; not modified

	balancing *balancing // of the next state; nil for the zero Balance

	mu sync.Mutex // guards ejections and the breaker, and what states note of them

	state   atomic.Pointer[routeState]
	served  atomic.Bool // Serve was called
	queue   queue
	traffic traffic
}

// routeState is what a route does with new requests: they go to one of the backends, or
// are refused, or are held if there is neither.
type routeState struct {
	backends []*Backend
	workers  []balance.Worker // the same
	out      atomic.Uint64    // a balance.Set of those that are ejected
	due      atomic.Int64     // when the first of these can be tried, in Unix nanoseconds

	balancing *balancing // nil if there is no choice and no breaker

	retired []*Backend // that served before and may have requests under way
	refusal *policy.Refusal
	newest  Newer
	changed chan struct{} // closed when another state is set
}

// Serve sends requests to the backends, from the next one on. It returns those that
// served until now and do not any more. There are at most [balance.Most], in the order
// of their seats.
func (r *Route) Serve(backends ...*Backend) (retired []*Backend) {
	r.served.Store(true)
	for _, b := range r.setState(&routeState{backends: backends}).backends {
		if !slices.Contains(backends, b) && !slices.Contains(retired, b) {
			retired = append(retired, b)
		}
	}
	return retired
}

// Newer says whether there is a newer version of a page than the one that serves.
type Newer int

// A route that starts to serve has NoNewer.
const (
	NoNewer      Newer = iota // there is none
	NewerPending              // it is being built or started
	NewerBroken               // it cannot serve
)

// SetNewer sets what holds until Serve, Hold or Refuse is called. Without backends it
// does nothing.
func (r *Route) SetNewer(n Newer) {
	if s := r.current(); len(s.backends) > 0 && s.newest != n {
		r.setState(&routeState{backends: s.backends, newest: n})
	}
}

// Hold has requests wait.
func (r *Route) Hold() { r.setState(&routeState{}) }

// Refuse refuses requests, and those that wait. Requests wait nonetheless if the refusal
// says to try again within 2 s.
func (r *Route) Refuse(refusal policy.Refusal) { r.setState(&routeState{refusal: &refusal}) }

// Held returns how many requests wait.
func (r *Route) Held() int { return r.queue.len() }

func (r *Route) setState(next *routeState) (last *routeState) {
	last = r.current()
	next.changed = make(chan struct{})
	next.retire(last)
	r.putInForce(next)
	close(last.changed)
	return last
}

// putInForce makes a state the current one, and spreads its requests.
func (r *Route) putInForce(next *routeState) {
	if r.balancing == nil {
		r.balancing = newBalancing(Balance{}, r.Name)
	}
	if n := len(next.backends); n > 1 || n == 1 && (r.balancing.marks || r.balancing.breaker != nil) {
		next.balancing = r.balancing
	}
	for _, b := range next.backends {
		next.workers = append(next.workers, b)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next.readmitLocked()
	r.noteOutLocked(next)
	r.state.Store(next)
}

// retire notes which backends of the state before may have requests under way
// and serve no more.
func (s *routeState) retire(last *routeState) {
	for _, served := range [][]*Backend{last.retired, last.backends} {
		for _, b := range served {
			if !b.drained() && !slices.Contains(s.backends, b) && !slices.Contains(s.retired, b) {
				s.retired = append(s.retired, b)
			}
		}
	}
}

func (r *Route) current() *routeState {
	if s := r.state.Load(); s != nil {
		return s
	}
	r.state.CompareAndSwap(nil, &routeState{changed: make(chan struct{})})
	return r.state.Load()
}

// claim takes a backend, or says what stands in the way: a refusal, or a
// state whose end is to be waited for.
func (r *Route) claim(a *attempts) (*Backend, *policy.Refusal, *routeState) {
	s := r.current()
	if s.balancing != nil {
		if b, refusal := r.choose(s, a); b != nil || refusal != nil {
			return b, refusal, nil
		}
	} else if len(s.backends) > 0 && s.backends[0].claim() {
		return s.backends[0], nil, nil
	}
	if s.refusal != nil && (s.refusal.RetryAt.IsZero() || time.Until(s.refusal.RetryAt) > soon) {
		return nil, s.refusal, nil
	}
	return nil, nil, s
}
