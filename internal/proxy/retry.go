package proxy

import (
	"net/http"
	"time"

	"tqserver/internal/policy"
)

// roundTrip sends a request to the backend that was claimed for it, and to
// another where that may be done without running anything twice.
func (x *exchange) roundTrip() (*http.Response, error) {
	out := &x.attempt
	tries, repeats, pause := 0, 0, time.Millisecond
	for {
		resp, err := x.backend.pool.RoundTrip(x.disconnect, out)
		if err == nil || x.why() != nil {
			return resp, err
		}
		switch {
		case !out.WroteHeader():
			// Nothing was sent. Who ended will be noticed in a moment.
			tries++
			if refusal := x.waitToRetry(pause, tries > quickTries); refusal != nil {
				return nil, &refusalError{refusal}
			}
			pause = min(2*pause, 50*time.Millisecond)
		case x.body == nil && repeatable[out.Method] && !out.GotFirstByte() && repeats < maxRepeats:
			repeats++
			if refusal := x.waitToRetry(repeatDelay, false); refusal != nil {
				return nil, &refusalError{refusal}
			}
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

// waitToRetry gives the backend back and waits until another serves or the pause is
// over; like one that is held, or whatever may be. The time of the exchange stands
// still.
func (x *exchange) waitToRetry(pause time.Duration, held bool) *policy.Refusal {
	left := x.route.current().changed
	x.release()
	x.watch(false)
	if held {
		if refusal := x.enqueue(); refusal != nil {
			return refusal
		}
		return x.wait(left, pause)
	}
	select {
	case <-left:
	case <-time.After(pause):
	case <-x.disconnect.Done():
		panic(http.ErrAbortHandler) // the client left
	}
	return nil
}

// quickTries is how many attempts follow one that could not be sent before the
// request counts as held: with their pauses, 63 ms, they outlast the moment until
// it is noticed that a worker has ended.
const quickTries = 6

// maxRepeats bounds how often a request that reached a worker is repeated: it
// may be what kills them.
const maxRepeats = 2

// repeatDelay is how long the end of a worker that cut a request may take to be
// noticed. Without it the request would be repeated on the next connection to the
// same worker, which closes them one after another.
const repeatDelay = 25 * time.Millisecond

var repeatable = map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true}

type refusalError struct{ *policy.Refusal }

func (e *refusalError) Error() string { return e.Title }
