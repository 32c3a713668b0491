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
	errand
	hooks  upstream.Hooks   // of each attempt; bound once, as the next is, so that a request allocates nothing
	cutNow func()           // attempt.Cut
	room   []upstream.Field // for those that the worker is told

	mu     sync.Mutex // guards all below
	timed  bool       // something must move
	limit  time.Time  // until which something must
	idle   *time.Timer
	fires  time.Time // when idle does, no later than limit; zero if it does not
	taken  taken     // by the client
	unread int       // by the worker, at the last look
	over   bool
}

// errand is what an exchange has of one request.
type errand struct {
	began     time.Time
	route     *Route // nil until one is found
	settings  *Settings
	develop   *Development // nil outside development
	identity               // does not change
	client    http.ResponseController
	http10    bool          // the client speaks HTTP/1.0
	expects   bool          // the client waits for a 100
	request   *http.Request // as it came, or as admit has it
	answer    countedWriter
	w         http.ResponseWriter // what the answer is written to: &answer, or what dresses it
	leaving   context.Context     // ends when the client leaves
	place     *place              // in the route's queue, or nil
	backend   *Backend            // claimed, or nil
	body      *requestBody
	attempt   upstream.Exchange
	reply     responseBody
	asked     []string // the protocols that the client would switch to
	unflushed bool     // something was written that may not have been sent
	status    int      // of the answer, 0 until one begins
	stream    bool
	upgraded  *upgradedConn
	deadline  time.Time // until which it may wait for a worker
	timing    timing

	answered atomic.Bool           // the worker's answer began
	cause    atomic.Pointer[error] // why it was cut; nil if it was not
}

// maxRoom is how many fields an exchange keeps room for.
const maxRoom = 64

var exchanges = sync.Pool{New: func() any { return newExchange() }}

func newExchange() *exchange {
	x := &exchange{over: true}
	x.hooks = upstream.Hooks{Sent: x.leave, Interim: x.interim, Blocked: x.flush}
	x.cutNow = x.attempt.Cancel
	return x
}

// start begins a request.
func (x *exchange) start(w http.ResponseWriter, r *http.Request, p *Proxy) {
	x.began, x.request, x.leaving = time.Now(), r, r.Context()
	x.settings, x.develop = p.settings.Load(), p.develop.Load()
	x.client = *http.NewResponseController(w)
	x.identity = identify(r, x.settings.TrustedProxies)
	x.answer.ResponseWriter = w
	x.w = &x.answer
	x.http10, x.expects = !r.ProtoAtLeast(1, 1), r.Header.Get("Expect") != ""
	x.mu.Lock()
	x.over, x.taken, x.unread = false, taken{}, 0
	x.mu.Unlock()
	if r.ContentLength != 0 {
		x.client.EnableFullDuplex() // an answer may come before the body was read
		x.body = newRequestBody(x, r)
	}
}

// forget lets another request have an exchange that has ended, if it is certain
// that nobody acts on it any more: expire, which may be about to run, finds it over,
// or looks again.
func (x *exchange) forget() {
	if x.upgraded != nil || wire.ConnOf(x.request) == nil { // which may be told late that the client left
		return
	}
	wire.OnDisconnect(x.request, nil)
	x.errand = errand{}
	clear(x.room)
	if cap(x.room) > maxRoom {
		x.room = nil
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
		if refusal := x.hold(wait.left); refusal != nil {
			return refusal
		}
	}
}

// hold waits, counted, until the stance of the route changes and all that came
// before are on their way.
func (x *exchange) hold(left <-chan struct{}) *policy.Refusal {
	if refusal := x.join(); refusal != nil {
		return refusal
	}
	began := time.Now()
	refusal := x.wait(left, 0)
	ready := time.Now()
	x.timing.held += ready.Sub(began)
	if refusal != nil {
		return refusal
	}
	refusal = x.wait(x.place.turn, 0)
	x.timing.queued += time.Since(ready)
	return refusal
}

func (x *exchange) join() *policy.Refusal {
	if x.place == nil {
		x.place = x.route.queue.join(x.settings.MaxHeld)
	}
	select {
	case x.route.Demand <- struct{}{}:
	default:
	}
	if x.place == nil {
		return &policy.Refusal{Status: http.StatusServiceUnavailable, Title: "Too many requests are waiting for this page", RetryAt: time.Now().Add(time.Second)}
	}
	return nil
}

// leave gives up the place in the queue.
func (x *exchange) leave() {
	if x.place != nil {
		x.route.queue.leave(x.place)
		x.place = nil
	}
}

// wait returns when until is closed, or after a pause if that is not 0, and
// with a refusal when the request cannot wait longer.
func (x *exchange) wait(until <-chan struct{}, pause time.Duration) *policy.Refusal {
	if x.deadline.IsZero() {
		x.deadline = time.Now().Add(x.patience())
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
	case <-x.leaving.Done():
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
	if x.waitsForClient() {
		patience = x.body.patience(x.settings.ReadTimeout)
	}
	if x.over || !x.timed || patience <= 0 {
		x.limit = time.Time{}
		return
	}
	x.limit = time.Now().Add(patience)
	if x.fires.IsZero() || x.limit.Before(x.fires) { // or expire looks again
		x.expireInLocked(patience)
	}
}

// looksEach is how often it is looked what the client has taken, until nothing may
// have moved for too long.
const looksEach = 4

// expireInLocked has expire called in as long as is left, or earlier to look.
func (x *exchange) expireInLocked(left time.Duration) {
	if patience := x.settings.WriteTimeout; patience > 0 {
		left = min(left, max(1, patience/looksEach))
	}
	x.fires = time.Now().Add(left)
	if x.idle == nil {
		x.idle = time.AfterFunc(left, x.expire)
	} else {
		x.idle.Reset(left)
	}
}

// waitsForClient reports whether it is the client who must move.
func (x *exchange) waitsForClient() bool { return x.body.reading() && !x.answered.Load() }

// expire ends an exchange in which nothing moved.
func (x *exchange) expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fires = time.Time{}
	if x.over || x.limit.IsZero() {
		return
	}
	x.lookLocked()
	if left := time.Until(x.limit); left > 0 {
		x.expireInLocked(left)
		return
	}
	cause := errSlowWorker
	if x.waitsForClient() {
		cause = errSlowClient
	}
	if x.body.pending() {
		x.client.SetReadDeadline(past)
	}
	if x.answered.Load() {
		x.client.SetWriteDeadline(past)
	} else {
		x.client.SetWriteDeadline(time.Now().Add(linger)) // for what comes before the answer
	}
	x.cut(cause)
}

// lookLocked looks whether the client has taken more of what was written, or the
// worker has read more. The kernel may hold so much of it that nothing else is seen
// to move for long.
func (x *exchange) lookLocked() {
	now := time.Now()
	moved := x.workerReadsLocked()
	if client := wire.ConnOf(x.request); client != nil && x.answered.Load() {
		if bytes, more, ok := client.Acked(); ok {
			moved = x.taken.look(bytes, now) || moved
			if more && x.taken.until.After(x.limit) {
				x.limit = x.taken.until
			}
		}
	}
	if until := now.Add(x.settings.WriteTimeout); moved && until.After(x.limit) {
		x.limit = until
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
	x.client.SetWriteDeadline(time.Now().Add(linger)) // it may have stopped to read
	if x.upgraded != nil && x.upgraded.frames != nil {
		x.upgraded.end(why)
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
	return x.leaving.Err()
}

// ended reports whether it was we who ended the exchange's stream.
func (x *exchange) ended() bool {
	var why EndReason
	return errors.As(x.why(), &why)
}

// end gives everything back of an exchange that took so long. No deadline is set
// after it.
func (x *exchange) end(took time.Duration) {
	x.mu.Lock()
	x.over, x.timed, x.limit = true, false, time.Time{}
	if x.idle != nil && x.idle.Stop() {
		x.fires = time.Time{}
	}
	x.mu.Unlock()
	x.body.shut()
	x.attempt.Wait()
	if x.upgraded != nil {
		x.upgraded.Close()
	}
	x.leave()
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
