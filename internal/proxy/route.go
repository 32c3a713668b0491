package proxy

import (
	"slices"
	"sync/atomic"
	"time"

	"tqserver/internal/policy"
)

// soon is how near the next try of a crashed page must be for a request to
// wait for it.
const soon = 2 * time.Second

// Route is where the requests of one page go. The zero Route holds them. It is
// steered by one goroutine and asked by many.
type Route struct {
	Name   string          // for the access log; not to be changed
	Demand chan<- struct{} // gets a value, if there is room, when a request has begun to wait; not to be changed

	state   atomic.Pointer[routeState]
	served  atomic.Bool // somebody did
	queue   queue
	traffic traffic
}

// routeState is what a request meets. Neither backends nor refusal: it waits.
type routeState struct {
	backends []*Backend
	retired  []*Backend // that served and have not ended yet
	refusal  *policy.Refusal
	newest   Newer
	changed  chan struct{} // closed when another state is set
}

// Serve sends requests to the backends, from the next one on, and returns
// those that served so far and do not any more.
func (r *Route) Serve(backends ...*Backend) (retired []*Backend) {
	r.served.Store(true)
	for _, b := range r.setState(&routeState{backends: backends}).backends {
		if !slices.Contains(backends, b) && !slices.Contains(retired, b) {
			retired = append(retired, b)
		}
	}
	return retired
}

// Newer says what is known of a version newer than the one that serves.
type Newer int

// What can be known. A route that begins to serve serves the newest version.
const (
	NoNewer      Newer = iota // there is none
	NewerPending              // it is being built or started
	NewerBroken               // it cannot serve
)

// SetNewer says what is known, as long as the backends stay the same. Without
// backends it means nothing.
func (r *Route) SetNewer(n Newer) {
	if s := r.current(); len(s.backends) > 0 && s.newest != n {
		r.setState(&routeState{backends: s.backends, newest: n})
	}
}

// Hold lets requests wait.
func (r *Route) Hold() { r.setState(&routeState{}) }

// Refuse answers requests, also those that wait.
func (r *Route) Refuse(refusal policy.Refusal) { r.setState(&routeState{refusal: &refusal}) }

// Held is how many requests wait.
func (r *Route) Held() int { return r.queue.len() }

func (r *Route) setState(next *routeState) (last *routeState) {
	last = r.current() // there is one to leave
	next.changed = make(chan struct{})
	next.retire(last)
	r.state.Store(next)
	close(last.changed)
	return last
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
