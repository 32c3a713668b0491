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

	wrote, began bool
	sending      sending
	answer       body

	mu   sync.Mutex // guards all below
	conn *conn      // on which it is under way, or nil
	cut  bool
}

// Cancel ends the exchange, or makes it fail if it begins later: its connection is
// closed. It may be called from any goroutine, and again.
func (x *Exchange) Cancel() {
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

// Unread returns how much of what was sent the worker has not read yet, as its
// socket counts. It may be called from any goroutine. Not every kernel knows.
func (x *Exchange) Unread() (bytes int, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn == nil {
		return 0, false
	}
	err := x.conn.onto(func(fd uintptr) { bytes, ok = socket.Unread(fd) })
	return bytes, ok && err == nil
}

// WroteHeader reports whether the whole header was sent: with less the worker cannot
// have begun.
func (x *Exchange) WroteHeader() bool { return x.wrote }

// GotFirstByte reports whether a byte of an answer came.
func (x *Exchange) GotFirstByte() bool { return x.began }

// Wait returns when nothing reads the request's body any more. Whoever calls it
// has seen to it that a read under way ends.
func (x *Exchange) Wait() {
	if x.sending.done != nil {
		<-x.sending.done
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
	x.wrote, x.began = false, false
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
	x.enter(c)
	resp, err := c.exchange(x)
	if err != nil {
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
		resp.Body = &Duplex{c}
		return resp, nil
	}
	x.answer = newBody(c, x, resp)
	if x.answer.framing == noBody {
		x.answer.end(true)
	}
	resp.Body = &x.answer
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
			x.sending.ask(true)
		}
	}
}

// frames reports whether a field is one that Exchange.Fields does not decide on.
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
	if x.Body != nil && x.Length != int64(len(x.BodyStart)) {
		x.sending.begin(c, x)
	}
}

// compose appends the header of a request, if all of it is sound, and what is at
// hand of its body.
func (c *conn) compose(x *Exchange, b []byte) ([]byte, error) {
	if !sound(x.Method) || !sound(x.Target) || !sound(x.Host) || strings.Contains(x.Method, " ") || strings.Contains(x.Target, " ") {
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
		if !sound(f.Name) || !sound(f.Value) {
			return nil, fmt.Errorf("the field %q of a request cannot be written", f.Name)
		}
		if !frames(f.Name) {
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

// sound reports whether text stays in its line.
func sound(text string) bool {
	return strings.IndexByte(text, '\n') < 0 && strings.IndexByte(text, '\r') < 0 && strings.IndexByte(text, 0) < 0
}
