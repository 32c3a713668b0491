package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

type exchangeKey struct{}

var (
	errSlowClient = errors.New("the client's body stopped coming")
	errSlowWorker = errors.New("the worker did not answer in time")
)

// exchange is one request on its way. Its fields belong to the goroutine of
// the request, but for those that say otherwise.
type exchange struct {
	route    *Route
	settings *Settings
	id       string
	request  *http.Request
	client   *http.ResponseController
	ctx      context.Context // ends with a cause
	cancel   context.CancelCauseFunc
	backend  *Backend // claimed, or nil
	body     *requestBody
	stream   bool
	deadline time.Time // until which it may wait for a worker

	answered atomic.Bool // the worker's answer began
	mu       sync.Mutex  // guards idle and over
	idle     *time.Timer
	over     bool
}

// acquire claims a backend, waiting for one as long as the settings allow.
func (x *exchange) acquire() *Refusal {
	for {
		b, refusal, wait := x.route.claim()
		if b != nil {
			x.backend = b
			return nil
		}
		if refusal != nil {
			return refusal
		}
		if refusal := x.hold(wait.left); refusal != nil {
			return refusal
		}
	}
}

// hold waits, counted, until the stance of the route changes.
func (x *exchange) hold(left <-chan struct{}) *Refusal {
	if x.route.held.Add(1) > int64(x.settings.MaxHeld) {
		x.route.held.Add(-1)
		return &Refusal{Status: http.StatusServiceUnavailable, Title: "Too many requests wait for this page", Until: time.Now().Add(time.Second)}
	}
	defer x.route.held.Add(-1)
	return x.wait(left, 0)
}

// wait returns when left is closed, or after a pause if that is not 0, and
// with a refusal when the request cannot wait longer.
func (x *exchange) wait(left <-chan struct{}, pause time.Duration) *Refusal {
	if x.deadline.IsZero() {
		x.deadline = time.Now().Add(x.settings.HoldTimeout)
	}
	patience := time.NewTimer(time.Until(x.deadline))
	defer patience.Stop()
	var paused <-chan time.Time
	if pause > 0 {
		paused = time.After(pause)
	}
	gone, stop := clientGone(x.request)
	defer stop()
	select {
	case <-left:
	case <-paused:
	case <-patience.C:
		return &Refusal{Status: http.StatusServiceUnavailable, Title: "This page is not ready", Detail: "It is being built or started. Try again in a moment.", Until: time.Now().Add(time.Second)}
	case <-gone:
		panic(http.ErrAbortHandler)
	case <-x.ctx.Done():
		panic(http.ErrAbortHandler)
	}
	return nil
}

func (x *exchange) release() {
	if x.backend == nil {
		return
	}
	if x.stream {
		x.backend.removeStream(x)
	}
	x.backend.release()
	x.backend = nil
}

// watch begins to watch that something moves.
func (x *exchange) watch() {
	if patience := x.patience(); patience > 0 {
		x.idle = time.AfterFunc(patience, x.expire)
	}
}

// patience is how long nothing may move now.
func (x *exchange) patience() time.Duration {
	if x.body.pending() && !x.answered.Load() {
		return x.settings.ReadTimeout
	}
	return x.settings.WriteTimeout
}

// moved is called whenever something did.
func (x *exchange) moved() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.idle != nil && !x.over {
		if patience := x.patience(); patience > 0 {
			x.idle.Reset(patience)
		}
	}
}

// expire ends an exchange in which nothing moved.
func (x *exchange) expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return
	}
	cause := errSlowWorker
	if x.body.pending() && !x.answered.Load() {
		cause = errSlowClient
	}
	x.cancel(cause)
	past := time.Unix(1, 0)
	if x.body.pending() {
		x.client.SetReadDeadline(past)
	}
	if x.answered.Load() {
		x.client.SetWriteDeadline(past)
	}
}

// end gives everything back. No deadline is set after it.
func (x *exchange) end() {
	x.mu.Lock()
	x.over = true
	if x.idle != nil {
		x.idle.Stop()
	}
	x.mu.Unlock()
	x.release()
	x.cancel(nil)
}

// ending reports whether it was we who ended the exchange's stream, and why.
func (x *exchange) ending() (why Ending, ok bool) {
	return why, errors.As(context.Cause(x.ctx), &why)
}

// requestBody is a client's body on its way to the worker. Closing it does
// nothing, because net/http closes it when an attempt failed; the server
// closes the real one.
type requestBody struct {
	io.ReadCloser
	x      *exchange
	read   atomic.Bool
	ended  atomic.Bool
	failed atomic.Bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.ended.Store(true)
	case err != nil:
		b.failed.Store(true)
	}
	b.x.moved()
	return n, err
}

func (b *requestBody) Close() error { return nil }

func (b *requestBody) touched() bool { return b != nil && b.read.Load() }
func (b *requestBody) pending() bool { return b != nil && !b.ended.Load() }

// responseBody is a worker's answer on its way to the client.
type responseBody struct {
	io.ReadCloser
	x *exchange
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.x.moved()
	if err != nil && err != io.EOF {
		if _, ours := b.x.ending(); ours {
			err = io.EOF // the stream ends as if the page had ended it
		}
	}
	return n, err
}
