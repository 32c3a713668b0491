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

// Field is a field of a header.
type Field struct{ Name, Value string }

// Hooks are called during an exchange by the goroutine that calls RoundTrip or
// reads the response's body. Each may be nil.
type Hooks struct {
	Sent    func()                               // the header was sent; must not wait for a caller of Cancel
	Interim func(status int, header http.Header) // an interim response arrived, but not 101
	Blocked func()                               // a read of the response's body will wait
}

// Exchange is a request and the state of its exchange with a worker. It may be
// reset to the zero value and reused when the response's body was closed, Wait has
// returned, and nobody will call Cancel any more.
type Exchange struct {
	// The request is sent unchanged, with Target byte for byte and Fields in their
	// order, except for fields that frame the message. Those are made from Host,
	// which may be empty, Body, Length (-1 means chunked) and Trailer, which is
	// read when the body has ended. No other field is added.
	Method, Target, Host string
	Fields               []Field
	Body                 io.Reader // nil means none
	Length               int64
	Trailer              http.Header

	// BodyStart holds bytes that were read from Body before. Length must be known
	// and include them. They are sent with the header; the rest, if any, is read
	// from Body.
	BodyStart []byte

	// ContinueAfter is how long the worker may take to say whether it wants the
	// body, if a field asks for that (Expect: 100-continue); else 0.
	ContinueAfter time.Duration

	Hooks

	wroteHeader, gotFirstByte bool
	bodySend                  bodySender
	respBody                  body

	mu        sync.Mutex // guards the fields below
	conn      *conn      // nil if there is none
	cancelled bool
}

// Cancel ends the exchange by closing its connection. If the exchange has not
// started, it will fail. Cancel may be called from any goroutine, and more than
// once.
func (x *Exchange) Cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cancelled = true
	if x.conn != nil {
		x.conn.close()
	}
}

// attach sets the connection of the exchange.
func (x *Exchange) attach(c *conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conn = c
	if x.cancelled {
		c.close()
	}
}

// detach removes the connection and reports whether it is intact.
func (x *Exchange) detach() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conn = nil
	return !x.cancelled
}

// Unread returns how many of the sent bytes the worker has not read, as its socket
// counts them. It may be called from any goroutine. Ok is false if the kernel
// cannot tell.
func (x *Exchange) Unread() (bytes int, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn == nil {
		return 0, false
	}
	err := x.conn.control(func(fd uintptr) { bytes, ok = socket.Unread(fd) })
	return bytes, ok && err == nil
}

// WroteHeader reports whether the complete header was sent. If not, the worker
// cannot have started to handle the request.
func (x *Exchange) WroteHeader() bool { return x.wroteHeader }

// GotFirstByte reports whether the response has started to arrive.
func (x *Exchange) GotFirstByte() bool { return x.gotFirstByte }

// Wait returns when nothing reads the request's body any more. The caller must make
// sure that a read in progress ends.
func (x *Exchange) Wait() {
	if x.bodySend.done != nil {
		<-x.bodySend.done
	}
}

// RoundTrip sends a request and returns the response. The caller must read the
// response's body to its end or close it; only then is the connection free again.
// The body of a response with status 101 is a [*Duplex]. If ctx ends, RoundTrip
// does not wait for a connection any longer; an exchange that has one ends by
// [Exchange.Cancel].
//
// After an error [Exchange.WroteHeader] and [Exchange.GotFirstByte] tell how far
// the exchange got. The caller may try again with the same Exchange if it has no
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
		if resp.StatusCode == http.StatusContinue { // after Interim, else the first read of the body would send it again
			x.bodySend.setWanted(true)
		}
	}
}

// isFraming reports whether Exchange, and not its Fields, determines this field.
func isFraming(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return true
	}
	return false
}

// headerSent notes that the header was sent, and starts to send the body.
func (x *Exchange) headerSent(c *conn) {
	x.wroteHeader = true
	if x.Sent != nil {
		x.Sent()
	}
	if x.Body != nil && x.Length != int64(len(x.BodyStart)) {
		x.bodySend.start(c, x)
	}
}

// appendRequest appends the header and BodyStart.
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
