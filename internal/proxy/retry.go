package proxy

import (
	"net/http"
	"time"

	"tqserver/internal/policy"
)

// roundTrip sends the request to the backend that was claimed for it, and to another
// where that cannot run anything twice.
func (r *relaying) roundTrip() (*http.Response, error) {
	x, out := r.x, &r.attempt
	tries, repeats, pause := 0, 0, time.Millisecond
	for {
		resp, err := r.backend.pool.RoundTrip(x.in.Request.Context(), out)
		if err == nil {
			return resp, nil
		}
		x.wait.attempts.end = x.endAfter(err)
		if x.why() != nil {
			return nil, err
		}
		var refusal *policy.Refusal
		switch {
		case !out.WroteHeader():
			// Nothing was sent. If the worker has ended, that will be noticed in a moment.
			if r.leaveForOther() {
				break
			}
			tries++
			refusal = r.waitToRetry(pause, tries > quickTries)
			pause = min(2*pause, 50*time.Millisecond)
		case x.in.body == nil && repeatable[out.Method] && !out.GotFirstByte() && repeats < maxRepeats:
			repeats++
			if r.leaveForOther() {
				break
			}
			refusal = r.waitToRetry(repeatDelay, false)
		default:
			return nil, err
		}
		if refusal == nil {
			refusal = x.acquire()
		}
		if refusal != nil {
			return nil, &refusalError{refusal}
		}
		x.stall.watch(true)
	}
}

// leaveForOther gives the backend back if there is another that the request has not
// tried, and otherwise lets the request try all again.
func (r *relaying) leaveForOther() bool {
	wait := &r.x.wait
	wait.attempts.tried = wait.attempts.tried.With(r.backend.seat)
	if !wait.route.hasOther(&wait.attempts) {
		wait.attempts.tried = 0
		return false
	}
	r.release()
	r.x.stall.watch(false)
	return true
}

// endAfter returns how the exchange with the worker ended after an error: badly, unless
// the client or the server is the cause.
func (x *exchange) endAfter(err error) end {
	cause := x.why()
	switch {
	case cause == errSlowWorker:
		return badEnd
	case cause != nil, x.in.body.fault() != nil, x.in.body.broken(), err == errTooLarge:
		return unknownEnd
	}
	return badEnd
}

// waitToRetry gives the backend back and waits until another serves or a pause is
// over. If the request counts as held, it may be refused meanwhile.
func (r *relaying) waitToRetry(pause time.Duration, held bool) *policy.Refusal {
	x := r.x
	changed := x.wait.route.current().changed
	r.release()
	x.stall.watch(false)
	if !held {
		x.wait.toRetry(changed, pause)
		return nil
	}
	if refusal := x.wait.enterQueue(); refusal != nil {
		return refusal
	}
	return x.wait.until(changed, pause)
}

// quickTries is how many attempts follow one that could not be sent before the
// request counts as held: with their pauses, 63 ms, they outlast the moment until
// it is noticed that a worker has ended.
const quickTries = 6

// maxRepeats bounds how often a request that reached a worker is repeated: it
// may be what kills them.
const maxRepeats = 2

// repeatDelay is how long the end of a worker that cut a request may take to be
// noticed. Without this pause the request would be repeated on the next connection to
// the same worker, which closes one after another.
const repeatDelay = 25 * time.Millisecond

var repeatable = map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true}
