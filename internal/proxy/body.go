package proxy

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

var errOver = errors.New("read of a body after the end of its request")

// requestBody is a client's body on its way to the worker. Closing it does
// nothing, because net/http closes it when an attempt failed and another may
// follow; the server closes the real one. A nil one is none.
type requestBody struct {
	io.ReadCloser
	x      *exchange
	of     *http.Request // to which net/http gives the trailer
	sent   http.Header   // the trailer that the worker gets
	read   atomic.Bool   // somebody began to
	reads  atomic.Bool   // a read is under way
	ended  atomic.Bool
	failed atomic.Bool
	closed atomic.Bool
}

func newRequestBody(x *exchange, r *http.Request) *requestBody {
	b := &requestBody{ReadCloser: r.Body, x: x, of: r}
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

// notTrailing are fields that say how to read, route or trust a message: they
// come too late in a trailer (RFC 9110 section 6.5.1), and whoever decided on a
// request has not seen them.
var notTrailing = []string{
	"Authorization", "Cache-Control", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Cookie",
	"Expect", "Forwarded", "Host", "Max-Forwards", "Pragma", "Range", "X-Request-Id", "Traceparent", "Tracestate",
}

func mayTrail(name string) bool {
	return !slices.Contains(notTrailing, name) && !slices.Contains(hops, name) &&
		!strings.HasPrefix(name, "X-Forwarded-") && !strings.HasPrefix(name, "If-") && !strings.Contains(name, "_")
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, errOver
	}
	b.read.Store(true)
	b.reads.Store(true)
	b.x.moved() // the worker took what was read before
	n, err := b.ReadCloser.Read(p)
	b.reads.Store(false)
	switch {
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
	b.x.moved()
	return n, err
}

func (b *requestBody) Close() error { return nil }

func (b *requestBody) shut() {
	if b != nil {
		b.closed.Store(true)
	}
}

func (b *requestBody) touched() bool { return b != nil && b.read.Load() }
func (b *requestBody) reading() bool { return b != nil && b.reads.Load() }
func (b *requestBody) pending() bool { return b != nil && !b.ended.Load() }
func (b *requestBody) broken() bool  { return b != nil && b.failed.Load() }

// responseBody is a worker's answer on its way to the client.
type responseBody struct {
	io.ReadCloser
	x *exchange
}

func (b *responseBody) Read(p []byte) (int, error) {
	b.x.moved() // what was read before was written
	n, err := b.ReadCloser.Read(p)
	b.x.moved()
	if err != nil && err != io.EOF && b.x.ended() {
		err = io.EOF // the stream ends as if the page had ended it
	}
	return n, err
}
