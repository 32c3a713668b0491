package proxy

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/balance"
	"tqserver/internal/policy"
	"tqserver/internal/wire"
)

var (
	errSlowClient = errors.New("the client stopped sending its body, or sent it too slowly")
	errTooLarge   = errors.New("the client's body is too large")
	errSlowWorker = errors.New("the worker did not respond in time")
)

// An exchange is one request's stay in the proxy. When it has ended, another request
// may get it, so that a request allocates little. It has a part for each section of
// the request's way.
//
// The goroutine that serves the request owns all of it but stall, which has a lock.
// Others act on it in these ways only:
//   - A timer calls stall.expire.
//   - A backend that drains calls endStream.
//   - The client's connection calls relay.cancel when the client disconnects.
//   - The goroutine that sends the request's body to the worker reads in.body, and
//     may cut the exchange.
//
// What they use is set before they can come, is atomic, or has a lock of its own.
// They end before finish returns, or find the exchange over.
type exchange struct {
	started  time.Time
	settings *Settings
	develop  *Development   // nil outside development
	policy   *policy.Policy // nil until it is found

	in    inbound  // the client's side
	wait  waiting  // for a backend
	relay relaying // the worker's side
	stall stallTimer

	status     int                   // of the response, 0 until one begins
	responding atomic.Bool           // a response of a page or a file has begun
	cause      atomic.Pointer[error] // why it was cut; nil if it was not
}

var exchanges = sync.Pool{New: func() any { return newExchange() }}

func newExchange() *exchange {
	x := new(exchange)
	x.stall.x, x.stall.over = x, true
	x.relay.init(x)
	return x
}

// start prepares the exchange for a request.
func (x *exchange) start(w http.ResponseWriter, r *http.Request, p *Proxy) {
	x.started, x.settings, x.develop = time.Now(), p.settings.Load(), p.develop.Load()
	x.in.open(w, r, x.settings.TrustedProxies)
	x.stall.start()
	if r.ContentLength != 0 {
		x.in.control.EnableFullDuplex() // a response may come before the body was read
		x.in.body = newRequestBody(x, r)
	}
}

// find looks up what holds for the path of the request, and where it goes.
func (x *exchange) find(p *Proxy) {
	r := x.in.Request
	entry := p.pathOf(r)
	x.policy = entry.policy
	x.wait = waiting{route: entry.route, disconnect: r.Context(), settings: x.settings, navigation: x.isNavigation()}
	if entry.route != nil {
		x.in.Route = entry.route.Name
		x.wait.attempts.Request = balance.Request{HTTP: r, Client: x.in.Client, Secure: x.in.scheme == "https"}
	}
}

// acquire claims a backend, waiting for one as long as the settings allow.
func (x *exchange) acquire() *policy.Refusal {
	b, refusal := x.wait.claim()
	if refusal != nil {
		return refusal
	}
	x.relay.backend = b
	if x.develop != nil {
		x.relay.claimed = time.Now()
	}
	return nil
}

// respond notes that a response of a page or a file begins.
func (x *exchange) respond(status int) {
	x.status = status
	x.responding.Store(true)
	x.stall.moved()
}

// endStream ends an event stream or an upgraded connection well.
func (x *exchange) endStream(why EndReason) {
	x.stall.mu.Lock()
	defer x.stall.mu.Unlock()
	if x.stall.over {
		return
	}
	x.in.control.SetWriteDeadline(time.Now().Add(endTimeout)) // the client may have stopped reading
	if upgraded := x.relay.upgraded; upgraded != nil && upgraded.frames != nil {
		upgraded.endStream(why)
	} else {
		x.cut(why)
	}
}

// cut ends what is under way with the worker. The first cause counts.
func (x *exchange) cut(cause error) {
	x.cause.CompareAndSwap(nil, &cause)
	x.relay.attempt.Cancel()
}

// why returns why nothing more is to be done: the exchange was cut, or the client
// disconnected.
func (x *exchange) why() error {
	if cause := x.cause.Load(); cause != nil {
		return *cause
	}
	return x.in.Request.Context().Err()
}

// endedByUs reports whether endStream ended the exchange.
func (x *exchange) endedByUs() bool {
	var why EndReason
	return errors.As(x.why(), &why)
}

// finish gives everything back of an exchange that took so long. No deadline is set
// after it.
func (x *exchange) finish(took time.Duration) {
	x.stall.stop()
	x.in.body.close()
	x.relay.attempt.Wait()
	if x.relay.upgraded != nil {
		x.relay.upgraded.Close()
	}
	x.wait.leaveQueue()
	x.count(took)
	x.relay.release()
	x.settle(unknownEnd)
}

// settle tells the breaker of the route, if it has one, how the request ended. The first
// call counts.
func (x *exchange) settle(how end) {
	if x.wait.attempts.phase != 0 {
		x.wait.route.settle(&x.wait.attempts, how)
	}
}

// count counts the exchange in the traffic of its route.
func (x *exchange) count(took time.Duration) {
	if x.wait.route == nil {
		return
	}
	t := &x.wait.route.traffic
	if x.relay.upgraded != nil {
		t.upgraded.Add(-1)
	}
	if x.relay.stream || x.status == 0 {
		took = untimed
	}
	t.record(x.status, took)
}

// recycle lets another request have an exchange that has ended, if it is certain that
// nobody acts on it any more. A timer that is about to call expire does no harm: that
// finds the exchange over, or checks again whether something moved.
func (x *exchange) recycle() {
	if x.relay.upgraded != nil || wire.ConnOf(x.in.Request) == nil { // a disconnect may be reported late
		return
	}
	wire.OnDisconnect(x.in.Request, nil)
	x.reset()
	exchanges.Put(x)
}

// reset forgets the request. What is left saves the next one allocations.
func (x *exchange) reset() {
	x.started, x.settings, x.develop, x.policy = time.Time{}, nil, nil, nil
	x.in.reset()
	x.wait = waiting{}
	x.relay.reset()
	x.status = 0
	x.responding.Store(false)
	x.cause.Store(nil)
}
