package proxy

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/message"
	"tqserver/internal/wire"
)

var errOver = errors.New("read of a body after the end of its request")

// requestBody is the body of a request on its way to the worker. It may be nil.
type requestBody struct {
	io.Reader
	x      *exchange
	bytes  int64         // so far
	rate   bodyRate      // guarded by x.stall.mu
	of     *http.Request // which gets the trailer
	sent   http.Header   // the trailer that the worker gets
	reads  atomic.Bool   // a read of the client's body is under way
	ended  atomic.Bool
	failed atomic.Bool
	closed bool       // guarded by use
	use    sync.Mutex // held while the client's body is read
}

func newRequestBody(x *exchange, r *http.Request) *requestBody {
	b := &requestBody{Reader: r.Body, x: x, of: r, rate: bodyRate{min: x.settings.MinBodyRate, grace: cmp.Or(x.settings.bodyGrace, bodyGrace)}}
	if len(r.TransferEncoding) > 0 {
		b.sent = make(http.Header)
		for name := range r.Trailer {
			if mayTrail(name) {
				b.sent[name] = nil // announced
			}
		}
	}
	return b
}

// trailers returns the header that is filled at the body's end.
func (b *requestBody) trailers() http.Header {
	if b == nil {
		return nil
	}
	return b.sent
}

// notTrailing are fields that say how to read, route or trust a message. In a trailer
// they come too late (RFC 9110 section 6.5.1), when it was decided on the request.
var notTrailing = []string{
	"Authorization", "Cache-Control", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Cookie",
	"Expect", "Forwarded", "Host", "Max-Forwards", "Pragma", "Range", "X-Request-Id", "Traceparent", "Tracestate",
}

func mayTrail(name string) bool {
	return !slices.Contains(notTrailing, name) && !message.IsHopByHop(name) &&
		!strings.HasPrefix(name, "X-Forwarded-") && !strings.HasPrefix(name, "If-") && !strings.Contains(name, "_")
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.use.Lock()
	defer b.use.Unlock()
	if b.closed {
		return 0, errOver
	}
	b.setReading(true, 0) // the worker took what was read before
	n, err := b.Reader.Read(p)
	b.bytes += int64(n)
	switch {
	case b.x.in.MaxBody > 0 && b.bytes > b.x.in.MaxBody:
		n, err = 0, errTooLarge
		b.x.cut(err)
	case err == io.EOF:
		b.ended.Store(true)
		for name, values := range b.of.Trailer {
			if b.sent != nil && mayTrail(name) {
				b.sent[name] = values
			}
		}
	case err != nil:
		b.failed.Store(true)
	}
	b.setReading(false, n)
	return n, err
}

// canPrefetch reports whether the body may be read before the worker has the header.
func (b *requestBody) canPrefetch() bool {
	return b != nil && b.of.ContentLength > 0 && !b.x.in.expects && wire.ConnOf(b.of) != nil
}

// prefetch reads what has come of the body, without waiting.
func (b *requestBody) prefetch(p []byte) (n int, err error) {
	wire.ConnOf(b.of).WithoutWaiting(func() {
		for got := -1; got != 0 && err == nil && n < len(p); n += got {
			got, err = b.Read(p[n:])
		}
	})
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// fault returns what is wrong with how the body was sent, or nil.
func (b *requestBody) fault() *wire.Refusal {
	if b == nil {
		return nil
	}
	if client := wire.ConnOf(b.of); client != nil {
		return client.BodyRefusal()
	}
	return nil
}

// setReading notes that a read of the client's body begins, or that it has ended with
// some bytes.
func (b *requestBody) setReading(on bool, n int) {
	b.x.stall.mu.Lock()
	defer b.x.stall.mu.Unlock()
	if b.reads.Store(on); on {
		b.rate.startWait()
	} else {
		b.rate.endWait(n)
	}
	b.x.stall.movedLocked()
}

// readTimeoutLocked returns how long a read may take from now on; 0 is for ever.

func (b *requestBody) readTimeoutLocked(idle time.Duration) time.Duration {
	if b.rate.min == 0 {
		return idle
	}
	left := max(1, b.rate.remaining())
	if idle <= 0 {
		return left
	}
	return min(idle, left)
}

// close ends a read under way, and makes later ones fail.
func (b *requestBody) close() {
	if b == nil {
		return
	}
	if b.pending() {
		b.x.in.control.SetReadDeadline(past)
	}
	b.use.Lock()
	defer b.use.Unlock()
	b.closed = true
}

func (b *requestBody) reading() bool { return b != nil && b.reads.Load() }
func (b *requestBody) pending() bool { return b != nil && !b.ended.Load() }
func (b *requestBody) broken() bool  { return b != nil && b.failed.Load() }
