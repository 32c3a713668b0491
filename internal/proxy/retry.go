package proxy

import (
	"net/http"
	"time"

	"tqserver/internal/upstream"
)

// roundTrip sends a request to the backend that was claimed for it, and to
// another where that may be done without running anything twice.
func (x *exchange) roundTrip(w http.ResponseWriter, out *upstream.Exchange) (*http.Response, error) {
	out.Interim = func(status int, fields http.Header) { x.interim(w, status, fields) }
	out.Blocked = func() { x.flush(w) }
	out.Sent = x.leave
	x.attempt = out
	repeats, pause := 0, time.Millisecond
	for {
		resp, err := x.backend.pool.RoundTrip(x.ctx, out)
		if err == nil || x.ctx.Err() != nil {
			return resp, err
		}
		switch {
		case !out.Wrote():
			// Nothing was sent. Who ended will be noticed in a moment.
			left := x.route.current().left
			x.release()
			if refusal := x.waitAgain(left, pause); refusal != nil {
				return nil, &refusalError{refusal}
			}
			pause = min(2*pause, 50*time.Millisecond)
		case x.body == nil && repeatable[out.Request.Method] && !out.Began() && repeats < maxRepeats:
			repeats++
			x.release()
		default:
			return nil, err
		}
		x.watch(false)
		if refusal := x.acquire(); refusal != nil {
			return nil, &refusalError{refusal}
		}
		x.watch(true)
	}
}

// waitAgain waits like one that is held. The time of the exchange stands still.
func (x *exchange) waitAgain(left <-chan struct{}, pause time.Duration) *Refusal {
	x.watch(false)
	if refusal := x.join(); refusal != nil {
		return refusal
	}
	return x.wait(left, pause)
}

// maxRepeats bounds how often a request that reached a worker is repeated: it
// may be what kills them.
const maxRepeats = 2

var repeatable = map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true}

type refusalError struct{ *Refusal }

func (e *refusalError) Error() string { return e.Title }
