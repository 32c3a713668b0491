package proxy

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/policy"
	"tqserver/internal/upstream"
	"tqserver/internal/wire"
)

var (
	errSlowClient = errors.New("the client stopped sending its body, or sent it too slowly")
	errTooLarge   = errors.New("the client's body is too large")
	errSlowWorker = errors.New("the worker did not respond in time")
)

// past is a deadline that ends reads and writes under way.
var past = time.Unix(1, 0)

// exchange is one request on its way, and after it others. Its fields belong to
// the goroutine of the request, but for those that say otherwise.
type exchange struct {
	requestState
	hooks    upstream.Hooks   // of each attempt; bound once, as the next is, so that a request allocates nothing
	cutNow   func()           // attempt.Cut
	fieldBuf []upstream.Field // for those that the worker is told

	mu        sync.Mutex // guards all below
	timed     bool       // something must move
	expiresAt time.Time  // until which something must
	timer     *time.Timer
	firesAt   time.Time      // when idle does, no later than limit; zero if it does not
	sent      clientProgress // by the client
	unread    int            // by the worker, at the last look
	over      bool
}

// requestState is what an exchange has of one request.
type requestState struct {
	started    time.Time
	route      *Route // nil until one is found
	settings   *Settings
	develop    *Development // nil outside development
	identity                // does not change
	client     http.ResponseController
	http10     bool            // the client speaks HTTP/1.0
	expects    bool            // the client waits for a 100
	view       policy.Exchange // what the policy sees
	policy     *policy.Policy
	written    countedWriter
	w          http.ResponseWriter // what the answer is written to: &answer, or what dresses it
	disconnect context.Context     // ends when the client leaves
	held       *heldRequest        // in the route's queue, or nil
	backend    *Backend            // claimed, or nil
	body       *requestBody
	attempt    upstream.Exchange
	response   responseBody
	protocols  []string // the protocols that the client would switch to
	unflushed  bool     // something was written that may not have been sent
	status     int      // of the answer, 0 until one begins
	stream     bool
	upgraded   *upgradedConn
	deadline   time.Time // until which it may wait for a worker
	timing     timing

	responding atomic.Bool           // the worker's answer began
	cause      atomic.Pointer[error] // why it was cut; nil if it was not
}

// maxFieldBuf is how many fields an exchange keeps room for.
const maxFieldBuf = 64

var exchanges = sync.Pool{New: func() any { return newExchange() }}

func newExchange() *exchange {
	x := &exchange{over: true}
	x.hooks = upstream.Hooks{Sent: x.dequeue, Interim: x.interim, Blocked: x.flush}
	x.cutNow = x.attempt.Cancel
	return x
}

// start begins a request.
func (x *exchange) start(w http.ResponseWriter, r *http.Request, p *Proxy) {
	x.started, x.view.Request, x.disconnect = time.Now(), r, r.Context()
	x.settings, x.develop = p.settings.Load(), p.develop.Load()
	x.client = *http.NewResponseController(w)
	x.identity = identify(r, x.settings.TrustedProxies)
	x.written.ResponseWriter = w
	x.w = &x.written
	x.http10, x.expects = !r.ProtoAtLeast(1, 1), r.Header.Get("Expect") != ""
	x.mu.Lock()
	x.over, x.sent, x.unread = false, clientProgress{}, 0
	x.mu.Unlock()
	if r.ContentLength != 0 {
		x.client.EnableFullDuplex() // an answer may come before the body was read
		x.body = newRequestBody(x, r)
	}
}

// recycle lets another request have an exchange that has ended, if it is certain
// that nobody acts on it any more: expire, which may be about to run, finds it over,
// or looks again.
func (x *exchange) recycle() {
	if x.upgraded != nil || wire.ConnOf(x.view.Request) == nil { // which may be told late that the client left
		return
	}
	wire.OnDisconnect(x.view.Request, nil)
	x.requestState = requestState{}
	clear(x.fieldBuf)
	if cap(x.fieldBuf) > maxFieldBuf {
		x.fieldBuf = nil
	}
	exchanges.Put(x)
}

// acquire claims a backend, waiting for one as long as the settings allow.
func (x *exchange) acquire() *policy.Refusal {
	for {
		b, refusal, wait := x.route.claim()
		if b != nil {
			x.backend = b
			if x.develop != nil {
				x.timing.claimed = time.Now()
			}
			return nil
		}
		if refusal != nil {
			return refusal
		}
		if refusal := x.hold(wait.changed); refusal != nil {
			return refusal
		}
	}
}

// hold waits, counted, until the state of the route changes and all that came
// before are on their way.
func (x *exchange) hold(left <-chan struct{}) *policy.Refusal {
	if refusal := x.enqueue(); refusal != nil {
		return refusal
	}
	began := time.Now()
	refusal := x.wait(left, 0)
	ready := time.Now()
	x.timing.held += ready.Sub(began)
	if refusal != nil {
		return refusal
	}
	refusal = x.wait(x.held.turn, 0)
	x.timing.queued += time.Since(ready)
	return refusal
}

func (x *exchange) enqueue() *policy.Refusal {
	if x.held == nil {
		x.held = x.route.queue.join(x.settings.MaxHeld)
	}
	select {
	case x.route.Demand <- struct{}{}:
	default:
	}
	if x.held == nil {
		return &policy.Refusal{Status: http.StatusServiceUnavailable, Title: "Too many requests are waiting for this page", RetryAt: time.Now().Add(time.Second)}
	}
	return nil
}

// dequeue gives up the place in the queue.
func (x *exchange) dequeue() {
	if x.held != nil {
		x.route.queue.leave(x.held)
		x.held = nil
	}
}

// wait returns when until is closed, or after a pause if that is not 0, and
// with a refusal when the request cannot wait longer.
func (x *exchange) wait(until <-chan struct{}, pause time.Duration) *policy.Refusal {
	if x.deadline.IsZero() {
		x.deadline = time.Now().Add(x.holdTimeout())
	}
	left := time.Until(x.deadline)
	if left <= 0 {
		return notReady()
	}
	patience := time.NewTimer(left)
	defer patience.Stop()
	var paused <-chan time.Time
	if pause > 0 {
		paused = time.After(pause)
	}
	select {
	case <-until:
	case <-paused:
	case <-patience.C:
		return notReady()
	case <-x.disconnect.Done():
		panic(http.ErrAbortHandler) // the client left
	}
	return nil
}

func notReady() *policy.Refusal {
	return &policy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is not ready", Detail: "It is being built or started. Try again in a moment.", RetryAt: time.Now().Add(time.Second)}
}

// release gives the backend back.
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

// watch begins, or stops, to watch that something moves.
func (x *exchange) watch(on bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.timed = on
	x.movedLocked()
}

// moved is called whenever something did, and when it is another's turn.
func (x *exchange) moved() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.movedLocked()
}

func (x *exchange) movedLocked() {
	patience := x.settings.WriteTimeout
	if x.awaitsClient() {
		patience = x.body.readTimeoutLocked(x.settings.ReadTimeout)
	}
	if x.over || !x.timed || patience <= 0 {
		x.expiresAt = time.Time{}
		return
	}
	x.expiresAt = time.Now().Add(patience)
	if x.firesAt.IsZero() || x.expiresAt.Before(x.firesAt) { // or expire looks again
		x.resetTimerLocked(patience)
	}
}

// checksPerTimeout is how often it is looked what the client has taken, until nothing may
// have moved for too long.
const checksPerTimeout = 4

// resetTimerLocked has expire called in as long as is left, or earlier to look.
func (x *exchange) resetTimerLocked(left time.Duration) {
	if patience := x.settings.WriteTimeout; patience > 0 {
		left = min(left, max(1, patience/checksPerTimeout))
	}
	x.firesAt = time.Now().Add(left)
	if x.timer == nil {
		x.timer = time.AfterFunc(left, x.expire)
	} else {
		x.timer.Reset(left)
	}
}

// awaitsClient reports whether it is the client who must move.
func (x *exchange) awaitsClient() bool { return x.body.reading() && !x.responding.Load() }

// expire ends an exchange in which nothing moved.
func (x *exchange) expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.firesAt = time.Time{}
	if x.over || x.expiresAt.IsZero() {
		return
	}
	x.checkProgressLocked()
	if left := time.Until(x.expiresAt); left > 0 {
		x.resetTimerLocked(left)
		return
	}
	cause := errSlowWorker
	if x.awaitsClient() {
		cause = errSlowClient
	}
	if x.body.pending() {
		x.client.SetReadDeadline(past)
	}
	if x.responding.Load() {
		x.client.SetWriteDeadline(past)
	} else {
		x.client.SetWriteDeadline(time.Now().Add(endTimeout)) // for what comes before the answer
	}
	x.cut(cause)
}

// checkProgressLocked looks whether the client has taken more of what was written, or the
// worker has read more. The kernel may hold so much of it that nothing else is seen
// to move for long.
func (x *exchange) checkProgressLocked() {
	now := time.Now()
	moved := x.workerReadsLocked()
	if client := wire.ConnOf(x.view.Request); client != nil && x.responding.Load() {
		if bytes, more, ok := client.Acked(); ok {
			moved = x.sent.update(bytes, now) || moved
			if more && x.sent.until.After(x.expiresAt) {
				x.expiresAt = x.sent.until
			}
		}
	}
	if until := now.Add(x.settings.WriteTimeout); moved && until.After(x.expiresAt) {
		x.expiresAt = until
	}
}

// workerReadsLocked reports whether the worker has read more of the request's body
// since the last look.
func (x *exchange) workerReadsLocked() bool {
	if x.body == nil || x.body.reading() {
		return false
	}
	unread, ok := x.attempt.Unread()
	moved := ok && unread != x.unread
	x.unread = unread
	return moved
}

// endStream ends an event stream or an upgraded connection well.
func (x *exchange) endStream(why EndReason) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return
	}
	x.client.SetWriteDeadline(time.Now().Add(endTimeout)) // it may have stopped to read
	if x.upgraded != nil && x.upgraded.frames != nil {
		x.upgraded.endStream(why)
	} else {
		x.cut(why)
	}
}

// cut ends what is under way with the worker. The first cause counts.
func (x *exchange) cut(cause error) {
	x.cause.CompareAndSwap(nil, &cause)
	x.attempt.Cancel()
}

// why returns why nothing more is to be done: it was cut, or the client left.
func (x *exchange) why() error {
	if cause := x.cause.Load(); cause != nil {
		return *cause
	}
	return x.disconnect.Err()
}

// endedByUs reports whether it was we who endedByUs the exchange's stream.
func (x *exchange) endedByUs() bool {
	var why EndReason
	return errors.As(x.why(), &why)
}

// finish gives everything back of an exchange that took so long. No deadline is set
// after it.
func (x *exchange) finish(took time.Duration) {
	x.mu.Lock()
	x.over, x.timed, x.expiresAt = true, false, time.Time{}
	if x.timer != nil && x.timer.Stop() {
		x.firesAt = time.Time{}
	}
	x.mu.Unlock()
	x.body.close()
	x.attempt.Wait()
	if x.upgraded != nil {
		x.upgraded.Close()
	}
	x.dequeue()
	x.record(took)
	x.release()
}

// record counts the exchange.
func (x *exchange) record(took time.Duration) {
	if x.route == nil {
		return
	}
	t := &x.route.traffic
	if x.upgraded != nil {
		t.upgraded.Add(-1)
	}
	if x.stream || x.status == 0 {
		took = untimed
	}
	t.record(x.status, took)
}
