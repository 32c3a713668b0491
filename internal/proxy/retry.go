package proxy

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// roundTripper sends a request to the backend that was claimed for it, and to
// another where that may be done without running anything twice.
type roundTripper struct{ p *Proxy }

func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req)
	if req.Body != nil {
		req.Body = x.body // ReverseProxy's own cannot be read after net/http closed it
	}
	repeats, pause := 0, time.Millisecond
	for {
		var wrote, began atomic.Bool
		place := x.place
		ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(info httptrace.GotConnInfo) {
				x.conn = info.Conn
				if c, ok := info.Conn.(*workerConn); ok && info.Reused {
					c.settle()
				}
			},
			WroteHeaders: func() {
				wrote.Store(true)
				x.route.queue.leave(place)
			},
			GotFirstResponseByte: func() { began.Store(true) },
			Wait100Continue:      x.body.asks,
			Got100Continue:       func() { x.body.wanted.Store(true) },
		})
		resp, err := x.backend.transport.RoundTrip(req.WithContext(ctx))
		if err == nil && resp.StatusCode == http.StatusUpgradeRequired {
			x.required = resp.Header["Upgrade"] // it must say which (RFC 9110 section 15.5.22), and ReverseProxy takes that out
		}
		if err == nil || x.ctx.Err() != nil {
			return resp, err
		}
		var dial *net.OpError
		switch unsent := errors.As(err, &dial) && dial.Op == "dial"; {
		case unsent, !wrote.Load() && !x.body.touched():
			// Nothing was sent. Who ended will be noticed in a moment.
			left := x.route.current().left
			x.release()
			if refusal := x.waitAgain(left, pause); refusal != nil {
				return nil, &refusalError{refusal}
			}
			pause = min(2*pause, 50*time.Millisecond)
		case req.Body == nil && repeatable[req.Method] && !began.Load() && repeats < maxRepeats:
			repeats++
			x.release()
			x.leave()
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
