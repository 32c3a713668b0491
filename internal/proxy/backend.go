package proxy

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/socket"
	"tqserver/internal/upstream"
)

// continueAfter is how long a worker may take to say whether it wants a body.
const continueAfter = time.Second

const draining = 1 << 63

// Backend is a worker as the proxy sees it: an address, the connections to it,
// and what is under way on them.
type Backend struct {
	Addr string

	state atomic.Uint64 // draining, and the number of requests under way
	idle  chan struct{} // closed when draining and nothing is under way
	total atomic.Int64  // requests so far
	limit atomic.Int64  // of requests; 0 for none
	spent chan struct{} // closed by spend
	spend func()
	build string
	pid   int
	seat  int

	ejection ejection    // guarded by the mu of its route
	suspect  atomic.Bool // it is not the zero value, so that good ends matter

	pool *upstream.Pool

	mu      sync.Mutex // guards streams and ended
	streams map[*exchange]bool
	ended   EndReason // or 0
}

// BackendOptions are the zero value's: no limit, connections kept for 90 s.
type BackendOptions struct {
	Seat        int           // of the worker, below [balance.Most]
	MaxRequests int           // after so many Spent is closed; 0 for never
	IdleTimeout time.Duration // after which the worker closes a connection; 0 for never
	Build       int           // number of the build, which responses name in development
	PID         int           // of the worker, for Refused
	Socket      string        // a Unix socket that the worker is to be reached by instead of Addr; empty for none
}

// NewBackend returns a backend on a loopback address.
func NewBackend(addr string, opts BackendOptions) *Backend {
	keep := 90 * time.Second
	if opts.IdleTimeout > 0 {
		// Below the worker's own, or it closes a connection just as a request
		// goes out on it (golang.org/issue/22158).
		keep = min(keep, opts.IdleTimeout/2)
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	b := &Backend{
		Addr:    addr,
		idle:    make(chan struct{}),
		spent:   make(chan struct{}),
		build:   strconv.Itoa(opts.Build),
		pid:     opts.PID,
		seat:    opts.Seat,
		streams: make(map[*exchange]bool),
		pool: upstream.NewPool(keep, func(ctx context.Context) (net.Conn, error) {
			if opts.Socket != "" {
				c, err := dialer.DialContext(ctx, "unix", opts.Socket)
				if err != nil {
					return nil, err
				}
				if own, err := socket.NewConn(c.(*net.UnixConn)); err == nil {
					return own, nil
				}
				return c, nil
			}
			c, err := dialer.DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			socket.LimitUnsent(c.(*net.TCPConn))
			return c, nil
		}),
	}
	b.spend = sync.OnceFunc(func() { close(b.spent) })
	b.limit.Store(int64(opts.MaxRequests))
	return b
}

// Spent is closed at the request that reaches the limit of requests.
func (b *Backend) Spent() <-chan struct{} { return b.spent }

// LimitRequests changes the limit, which counts the requests so far too; 0 is
// none. Once Spent is closed it stays so.
func (b *Backend) LimitRequests(n int) {
	b.limit.Store(int64(n))
	b.checkLimit(b.total.Load())
}

func (b *Backend) checkLimit(total int64) {
	if limit := b.limit.Load(); limit > 0 && total >= limit {
		b.spend()
	}
}

// Requests is how many requests the backend was given.
func (b *Backend) Requests() int64 { return b.total.Load() }

// Seat is the seat of the worker.
func (b *Backend) Seat() int { return b.seat }

// InFlight is how many requests are under way.
func (b *Backend) InFlight() int { return int(b.state.Load() &^ draining) }

// drained reports whether nothing is under way, and nothing will be.
func (b *Backend) drained() bool { return b.state.Load() == draining }

// claim takes the backend for a request, unless it is draining.
func (b *Backend) claim() bool {
	for {
		state := b.state.Load()
		if state&draining != 0 {
			return false
		}
		if b.state.CompareAndSwap(state, state+1) {
			break
		}
	}
	b.checkLimit(b.total.Add(1))
	return true
}

func (b *Backend) release() {
	if b.state.Add(^uint64(0)) == draining {
		close(b.idle)
	}
}

// Close keeps further requests from claiming the backend, and closes the connections
// that nothing uses.
func (b *Backend) Close() {
	for {
		state := b.state.Load()
		if state&draining != 0 {
			break
		}
		if b.state.CompareAndSwap(state, state|draining) {
			if state == 0 {
				close(b.idle)
			}
			break
		}
	}
	b.pool.Close()
}

// Drain closes the backend and waits until nothing is under way, or the
// context ends, whose error it returns then. It may be called again to wait
// longer.
func (b *Backend) Drain(ctx context.Context) error {
	b.Close()
	select {
	case <-b.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// EndStreams ends event streams and upgraded connections, present and later ones, in
// their own protocols: WebSockets get a close frame with the reason.
func (b *Backend) EndStreams(why EndReason) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = why
	for x := range b.streams {
		x.endStream(why)
	}
}

func (b *Backend) addStream(x *exchange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[x] = true
	if b.ended != 0 {
		x.endStream(b.ended)
	}
}

func (b *Backend) removeStream(x *exchange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, x)
}

// EndReason is why the server ends a stream: the status of a WebSocket's close frame
// (RFC 6455 section 7.4.1).
type EndReason uint16

// The reasons.
const (
	GoingAway      EndReason = 1001 // the server or the page ends
	ServiceRestart EndReason = 1012 // a newer worker takes over
)

func (e EndReason) Error() string {
	if e == GoingAway {
		return "the server is shutting down"
	}
	return "the worker was replaced"
}
