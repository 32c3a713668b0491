package proxy

import (
	"slices"
	"sync/atomic"
	"time"

	"tqserver/internal/policy"
)

// soon is how near the next start of a crashed page must be for requests to wait for
// it.
const soon = 2 * time.Second

// Route is where the requests of one page go. The zero Route holds them. One goroutine
// changes it, and all may read it.
type Route struct {
	Name   string          // of the page; not modified
	Demand chan<- struct{} // gets a value, if there is room, when a request begins to wait; not modified

	state   atomic.Pointer[routeState]
	served  atomic.Bool // Serve was called
	queue   queue
	traffic traffic
}

// routeState is what a route does with new requests: they go to one of the backends, or
// are refused, or are held if there is neither.
type routeState struct {
	backends []*Backend
	retired  []*Backend // that served before and may have requests under way
	refusal  *policy.Refusal
	newest   Newer
	changed  chan struct{} // closed when another state is set
}

// Serve sends requests to the backends, from the next one on. It returns those that
// served until now and do not any more.
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
	r.state.Store(next)
	close(last.changed)
	return last
}

// retire adds to retired the backends of the state before that do not serve any more.
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

// claim claims a backend. If there is none, it returns a refusal or, for a request that
// must wait, the state that has to change first.
func (r *Route) claim() (*Backend, *policy.Refusal, *routeState) {
	s := r.current()
	for _, b := range s.backends {
		if b.claim() {
			return b, nil, nil
		}
	}
	if s.refusal != nil && (s.refusal.RetryAt.IsZero() || time.Until(s.refusal.RetryAt) > soon) {
		return nil, s.refusal, nil
	}
	return nil, nil, s
}
