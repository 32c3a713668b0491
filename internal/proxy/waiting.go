package proxy

import (
	"context"
	"net/http"
	"time"

	"tqserver/internal/policy"
)

// waiting is how a request waits for a backend of its route.
type waiting struct {
	route      *Route          // nil if no page is for the request
	disconnect context.Context // ends when the client disconnects
	settings   *Settings
	navigation bool // a tab waits for its new content, in development
	attempts   attempts

	held     *heldRequest // in the route's queue, or nil
	deadline time.Time    // until which it may wait; zero until it has to

	heldFor   time.Duration // until its page was ready
	queuedFor time.Duration // behind those that came before
}

// claim claims a backend, waiting for one as long as the settings allow.
func (w *waiting) claim() (*Backend, *policy.Refusal) {
	for {
		b, refusal, state := w.route.claim(&w.attempts)
		if b != nil || refusal != nil {
			return b, refusal
		}
		if refusal := w.hold(state.changed); refusal != nil {
			return nil, refusal
		}
	}
}

// hold waits in the queue until the state of the route changes and all requests that
// came before are on their way.
func (w *waiting) hold(changed <-chan struct{}) *policy.Refusal {
	if refusal := w.enterQueue(); refusal != nil {
		return refusal
	}
	started := time.Now()
	refusal := w.until(changed, 0)
	ready := time.Now()
	w.heldFor += ready.Sub(started)
	if refusal != nil {
		return refusal
	}
	refusal = w.until(w.held.turn, 0)
	w.queuedFor += time.Since(ready)
	return refusal
}

func (w *waiting) enterQueue() *policy.Refusal {
	if w.held == nil {
		w.held = w.route.queue.enter(w.settings.MaxHeld)
	}
	select {
	case w.route.Demand <- struct{}{}:
	default:
	}
	if w.held == nil {
		return &policy.Refusal{Status: http.StatusServiceUnavailable, Title: "Too many requests are waiting for this page", RetryAt: time.Now().Add(time.Second)}
	}
	return nil
}

// leaveQueue lets the next request go. It may be called again.
func (w *waiting) leaveQueue() {
	if w.held != nil {
		w.route.queue.leave(w.held)
		w.held = nil
	}
}

// until returns when a channel is closed, or after a pause if that is not 0, and with
// a refusal when the request may not wait longer.
func (w *waiting) until(closed <-chan struct{}, pause time.Duration) *policy.Refusal {
	if w.deadline.IsZero() {
		w.deadline = time.Now().Add(w.timeout())
	}
	left := time.Until(w.deadline)
	if left <= 0 {
		return notReady()
	}
	timeout := time.NewTimer(left)
	defer timeout.Stop()
	var paused <-chan time.Time
	if pause > 0 {
		paused = time.After(pause)
	}
	select {
	case <-closed:
	case <-paused:
	case <-timeout.C:
		return notReady()
	case <-w.disconnect.Done():
		panic(http.ErrAbortHandler)
	}
	return nil
}

// timeout is how long the request may wait for a backend.
func (w *waiting) timeout() time.Duration {
	if w.navigation && !w.route.served.Load() {
		return min(firstHoldTimeout, w.settings.HoldTimeout)
	}
	return w.settings.HoldTimeout
}

// toRetry waits until another backend serves or a pause is over.
func (w *waiting) toRetry(changed <-chan struct{}, pause time.Duration) {
	select {
	case <-changed:
	case <-time.After(pause):
	case <-w.disconnect.Done():
		panic(http.ErrAbortHandler)
	}
}

// forNewer waits for the version of the page that is on its way, up to a time, so that
// who saves and reloads sees what was saved.
func (w *waiting) forNewer(longest time.Duration) {
	if !w.navigation || longest <= 0 {
		return
	}
	started := time.Now()
	timeout := time.NewTimer(longest)
	defer timeout.Stop()
	for s := w.route.current(); s.newest == NewerPending; s = w.route.current() {
		select {
		case <-s.changed:
		case <-timeout.C:
			w.heldFor = time.Since(started)
			return
		case <-w.disconnect.Done():
			panic(http.ErrAbortHandler)
		}
	}
	w.heldFor = time.Since(started)
}

func notReady() *policy.Refusal {
	return &policy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is not ready", Detail: "It is being built or started. Try again in a moment.", RetryAt: time.Now().Add(time.Second)}
}
