package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Exchange is a request and how far it got.
type Exchange struct {
	// The request. Its Method, Host and Header go out as they are, without what
	// frames a message: that is made from Body, ContentLength (-1 for a body in
	// chunks) and Trailer, which is read when the body ended. No field is added.
	// A Host may be empty.
	Request *http.Request
	Target  string // the request target, byte for byte

	// First are bytes that were read from Body before, whose ContentLength is
	// known and counts them. They go out with the header. The rest is read from
	// Body, if any is left.
	First []byte

	// ContinueAfter is how long a worker that was asked whether it wants the
	// body (Expect: 100-continue) is given to say so.
	ContinueAfter time.Duration

	Sent    func()                               // the header is on its way
	Interim func(status int, header http.Header) // an answer of 1xx came, but for 101
	Blocked func()                               // the answer's body is awaited

	wrote, began bool
	sending      sending

	mu   sync.Mutex // guards all below
	conn *conn      // on which it is under way, or nil
	cut  bool
}

// Cut ends the exchange, or makes it fail if it begins later: its connection is
// closed. It may be called from any goroutine, and again.
func (x *Exchange) Cut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cut = true
	if x.conn != nil {
		x.conn.close()
	}
}

// enter has the exchange under way on a connection.
func (x *Exchange) enter(c *conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conn = c
	if x.cut {
		c.close()
	}
}

// leave has it under way on none, and reports whether the connection is as it was
// left.
func (x *Exchange) leave() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conn = nil
	return !x.cut
}

// Wrote reports whether the whole header was sent: with less the worker cannot
// have begun.
func (x *Exchange) Wrote() bool { return x.wrote }

// Began reports whether a byte of an answer came.
func (x *Exchange) Began() bool { return x.began }

// Wait returns when nothing reads the request's body any more. Whoever calls it
// has seen to it that a read under way ends.
func (x *Exchange) Wait() {
	if x.sending.done != nil {
		<-x.sending.done
	}
}

// RoundTrip sends a request and returns its answer, whose body must be read to
// its end or closed: only then its connection is free again. The body of an
// answer of 101 is a [*Duplex]. When the context ends the exchange is cut.
// After an error [Exchange.Wrote] and [Exchange.Began] say what is known of the
// worker, and another attempt may be made with the same Exchange, if it has no
// body or nothing was sent.
func (p *Pool) RoundTrip(ctx context.Context, x *Exchange) (*http.Response, error) {
	x.wrote, x.began = false, false
	for {
		c, err := p.get(ctx)
		if err != nil {
			return nil, err
		}
		if resp, err := c.roundTrip(ctx, x); err != errStale {
			return resp, err
		}
	}
}

func (c *conn) roundTrip(ctx context.Context, x *Exchange) (*http.Response, error) {
	x.enter(c)
	unwatch := context.AfterFunc(ctx, x.Cut)
	resp, err := c.exchange(x)
	if err != nil {
		unwatch()
		x.leave()
		c.close()
		x.sending.ask(false)
		if fault := x.sending.fault.Load(); fault != nil {
			err = *fault
		}
		return nil, err
	}
	x.sending.ask(false)
	c.left, c.block = -1, x.Blocked
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = &Duplex{c, unwatch}
		return resp, nil
	}
	b := &body{ReadCloser: resp.Body, c: c, x: x, unwatch: unwatch, last: resp.Close}
	if resp.Body == http.NoBody {
		b.end(true)
	}
	resp.Body = b
	return resp, nil
}

func (c *conn) exchange(x *Exchange) (*http.Response, error) {
	if err := c.ask(x); err != nil {
		return nil, err
	}
	c.left, c.block, c.used = maxHeader, nil, true
	if _, err := c.r.Peek(1); err != nil {
		return nil, err
	}
	x.began = true
	for {
		resp, err := http.ReadResponse(c.r, x.Request)
		switch {
		case err != nil:
			return nil, err
		case resp.StatusCode < 100:
			return nil, fmt.Errorf("the worker's answer has the status %d", resp.StatusCode)
		case resp.StatusCode >= 200, resp.StatusCode == http.StatusSwitchingProtocols:
			return resp, nil
		}
		if x.Interim != nil {
			x.Interim(resp.StatusCode, resp.Header)
		}
		if resp.StatusCode == http.StatusContinue { // told of before, or the first read of the body would say it again
			x.sending.ask(true)
		}
	}
}

// field is a name with its values.
type field struct {
	name   string
	values []string
}

// frames reports whether a field is one that Exchange.Request.Header does not
// decide on.
func frames(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return true
	}
	return false
}

// sent notes that the header is on its way, which the body follows.
func (x *Exchange) sent(c *conn) {
	x.wrote = true
	if x.Sent != nil {
		x.Sent()
	}
	if r := x.Request; r.Body != nil && r.ContentLength != int64(len(x.First)) {
		x.sending.begin(c, x)
	}
}

// compose appends the header of a request, if all of it is sound, and what is at
// hand of its body.
func (c *conn) compose(x *Exchange, b []byte) ([]byte, error) {
	r := x.Request
	if !sound(r.Method) || !sound(x.Target) || !sound(r.Host) || strings.Contains(r.Method, " ") || strings.Contains(x.Target, " ") {
		return nil, errors.New("the first line of a request cannot be written")
	}
	for name, values := range r.Header {
		for _, v := range values {
			if !sound(name) || !sound(v) {
				return nil, fmt.Errorf("the field %q of a request cannot be written", name)
			}
		}
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, x.Target...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", r.Host)
	switch {
	case r.Body == nil:
		if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
			b = appendField(b, "Content-Length", "0") // RFC 9110 section 8.6
		}
	case r.ContentLength >= 0:
		b = appendField(b, "Content-Length", strconv.FormatInt(r.ContentLength, 10))
	default:
		b = appendField(b, "Transfer-Encoding", "chunked")
		for _, name := range slices.Sorted(maps.Keys(r.Trailer)) {
			b = appendField(b, "Trailer", name)
		}
	}
	for name, values := range r.Header {
		if !frames(name) {
			c.fields = append(c.fields, field{name, values})
		}
	}
	slices.SortFunc(c.fields, func(a, b field) int { return strings.Compare(a.name, b.name) }) // so that the same request is the same bytes
	for _, f := range c.fields {
		for _, v := range f.values {
			b = appendField(b, f.name, v)
		}
	}
	clear(c.fields)
	c.fields = c.fields[:0]
	b = append(b, "\r\n"...)
	return append(b, x.First...), nil
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// sound reports whether text stays in its line.
func sound(text string) bool {
	return strings.IndexByte(text, '\n') < 0 && strings.IndexByte(text, '\r') < 0 && strings.IndexByte(text, 0) < 0
}

// body is that of an answer.
type body struct {
	io.ReadCloser
	c       *conn
	x       *Exchange
	unwatch func() bool
	last    bool // the connection ends with it
	ended   bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err == io.EOF)
	}
	return n, err
}

// Close gives the connection up, unless the body was read to its end.
func (b *body) Close() error {
	b.end(false)
	return nil
}

func (b *body) end(whole bool) {
	if b.ended {
		return
	}
	b.ended = true
	c := b.c
	c.block = nil
	b.unwatch()
	if b.x.leave() && whole && !b.last && b.x.sending.over() && c.r.Buffered() == 0 {
		c.pool.put(c)
	} else {
		c.close()
	}
}
