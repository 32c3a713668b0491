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

	"tqserver/internal/socket"
)

// Field is a line of a header.
type Field struct{ Name, Value string }

// Hooks are called while a request is on its way, by the goroutine of RoundTrip or
// of a read of the answer's body. Each may be nil.
type Hooks struct {
	Sent    func()                               // the header is on its way; must not wait for who calls Cut
	Interim func(status int, header http.Header) // an answer of 1xx came, but for 101
	Blocked func()                               // the answer's body is awaited
}

// Exchange is a request and how far it got. When the answer's body was closed,
// Wait has returned and nobody will call Cut, it may be set to the zero value, and
// used for another.
type Exchange struct {
	// The request goes out as it is, its Target byte for byte and its Fields in
	// their order. Those that frame a message are left out: what frames this one
	// is made from Host, which may be empty, Body, Length (-1 for a body in
	// chunks) and Trailer, which is read when the body has ended. No other field
	// is added.
	Method, Target, Host string
	Fields               []Field
	Body                 io.Reader // nil for none
	Length               int64
	Trailer              http.Header

	// BodyStart are bytes that were read from Body before, whose Length is known and
	// counts them. They go out with the header. The rest is read from Body, if any
	// is left.
	BodyStart []byte

	// ContinueAfter is how long a worker is given to say whether it wants the
	// body, which a field asks it (Expect: 100-continue); 0 if none does.
	ContinueAfter time.Duration

	Hooks

	wroteHeader, gotFirstByte bool
	bodySend                  bodySender
	respBody                  body

	mu        sync.Mutex // guards all below
	conn      *conn      // on which it is under way, or nil
	cancelled bool
}

// Cancel ends the exchange, or makes it fail if it begins later: its connection is
// closed. It may be called from any goroutine, and again.
func (x *Exchange) Cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cancelled = true
	if x.conn != nil {
		x.conn.close()
	}
}

// attach has the exchange under way on a connection.
func (x *Exchange) attach(c *conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conn = c
	if x.cancelled {
		c.close()
	}
}

// detach has it under way on none, and reports whether the connection is as it was
// left.
func (x *Exchange) detach() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conn = nil
	return !x.cancelled
}

// Unread returns how much of what was sent the worker has not read yet, as its
// socket counts. It may be called from any goroutine. Not every kernel knows.
func (x *Exchange) Unread() (bytes int, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn == nil {
		return 0, false
	}
	err := x.conn.control(func(fd uintptr) { bytes, ok = socket.Unread(fd) })
	return bytes, ok && err == nil
}

// WroteHeader reports whether the whole header was sent: with less the worker cannot
// have begun.
func (x *Exchange) WroteHeader() bool { return x.wroteHeader }

// GotFirstByte reports whether a byte of an answer came.
func (x *Exchange) GotFirstByte() bool { return x.gotFirstByte }

// Wait returns when nothing reads the request's body any more. Whoever calls it
// has seen to it that a read under way ends.
func (x *Exchange) Wait() {
	if x.bodySend.done != nil {
		<-x.bodySend.done
	}
}

// RoundTrip sends a request and returns its answer, whose body must be read to
// its end or closed: only then its connection is free again. The body of an
// answer of 101 is a [*Duplex]. When the context ends a connection is awaited no
// longer; what is under way on one ends by [Exchange.Cancel].
// After an error [Exchange.WroteHeader] and [Exchange.GotFirstByte] say what is known of the
// worker, and another attempt may be made with the same Exchange, if it has no
// body or nothing was sent.
func (p *Pool) RoundTrip(ctx context.Context, x *Exchange) (*http.Response, error) {
	x.wroteHeader, x.gotFirstByte = false, false
	for {
		c, err := p.get(ctx)
		if err != nil {
			return nil, err
		}
		if resp, err := c.roundTrip(x); err != errStale {
			return resp, err
		}
	}
}

func (c *conn) roundTrip(x *Exchange) (*http.Response, error) {
	x.attach(c)
	resp, err := c.readResponse(x)
	if err != nil {
		x.detach()
		c.close()
		x.bodySend.setWanted(false)
		if fault := x.bodySend.err.Load(); fault != nil {
			err = *fault
		}
		return nil, err
	}
	x.bodySend.setWanted(false)
	c.headerLeft, c.beforeWait = -1, x.Blocked
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = &Duplex{c}
		return resp, nil
	}
	x.respBody = newBody(c, x, resp)
	if x.respBody.framing == noBody {
		x.respBody.finish(true)
	}
	resp.Body = &x.respBody
	return resp, nil
}

func (c *conn) readResponse(x *Exchange) (*http.Response, error) {
	if err := c.send(x); err != nil {
		return nil, err
	}
	c.headerLeft, c.beforeWait, c.used = maxHeader, nil, true
	if _, err := c.reader.Peek(1); err != nil {
		return nil, err
	}
	x.gotFirstByte = true
	for {
		b, err := c.readHead()
		if err != nil {
			return nil, err
		}
		resp, err := parseResponse(b, x.Method)
		switch {
		case err != nil:
			return nil, err
		case resp.StatusCode >= 200, resp.StatusCode == http.StatusSwitchingProtocols:
			return resp, nil
		}
		if x.Interim != nil {
			x.Interim(resp.StatusCode, resp.Header)
		}
		if resp.StatusCode == http.StatusContinue { // told of before, or the first read of the body would say it again
			x.bodySend.setWanted(true)
		}
	}
}

// isFraming reports whether a field is one that Exchange.Fields does not decide on.
func isFraming(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return true
	}
	return false
}

// headerSent notes that the header is on its way, which the body follows.
func (x *Exchange) headerSent(c *conn) {
	x.wroteHeader = true
	if x.Sent != nil {
		x.Sent()
	}
	if x.Body != nil && x.Length != int64(len(x.BodyStart)) {
		x.bodySend.start(c, x)
	}
}

// appendRequest appends the header of a request, if all of it is sound, and what is at
// hand of its body.
func (c *conn) appendRequest(x *Exchange, b []byte) ([]byte, error) {
	if !isSingleLine(x.Method) || !isSingleLine(x.Target) || !isSingleLine(x.Host) || strings.Contains(x.Method, " ") || strings.Contains(x.Target, " ") {
		return nil, errors.New("the first line of a request cannot be written")
	}
	b = append(b, x.Method...)
	b = append(b, ' ')
	b = append(b, x.Target...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", x.Host)
	switch {
	case x.Body == nil:
		if x.Method == http.MethodPost || x.Method == http.MethodPut || x.Method == http.MethodPatch {
			b = appendField(b, "Content-Length", "0") // RFC 9110 section 8.6
		}
	case x.Length >= 0:
		b = appendField(b, "Content-Length", strconv.FormatInt(x.Length, 10))
	default:
		b = appendField(b, "Transfer-Encoding", "chunked")
		if len(x.Trailer) > 0 {
			b = appendField(b, "Trailer", strings.Join(slices.Sorted(maps.Keys(x.Trailer)), ", "))
		}
	}
	for _, f := range x.Fields {
		if !isSingleLine(f.Name) || !isSingleLine(f.Value) {
			return nil, fmt.Errorf("the field %q of a request cannot be written", f.Name)
		}
		if !isFraming(f.Name) {
			b = appendField(b, f.Name, f.Value)
		}
	}
	b = append(b, "\r\n"...)
	return append(b, x.BodyStart...), nil
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// isSingleLine reports whether text stays in its line.
func isSingleLine(text string) bool {
	return strings.IndexByte(text, '\n') < 0 && strings.IndexByte(text, '\r') < 0 && strings.IndexByte(text, 0) < 0
}
