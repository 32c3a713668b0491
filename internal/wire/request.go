package wire

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"os"

	"tqserver/internal/message"
)

type connKey struct{}

// ConnOf returns the connection that a request arrived on, or nil if it does not
// come from a Server.
func ConnOf(r *http.Request) *Conn {
	c, _ := r.Context().Value(connKey{}).(*Conn)
	return c
}

// OnDisconnect makes the server call f when the client of a request disconnects
// before the response ends, or at once if it already has. Any goroutine may call f,
// and the request may end meanwhile. F must neither use the connection nor wait for
// whoever does.
//
// A second call for a request replaces f, and nil removes it: when OnDisconnect
// returns, f is not running and will not be called again. For a request that does
// not come from a Server, nil does nothing.
func OnDisconnect(r *http.Request, f func()) {
	if c := ConnOf(r); c != nil {
		c.onDisconnect(f)
	} else if f != nil {
		context.AfterFunc(r.Context(), f)
	}
}

// refusedMethod marks stand-ins. It is random, so no client can send it.
var refusedMethod = rand.Text()

// RefusalOf returns why a request was refused if r is a stand-in for it. It returns
// nil if r is a request.
func RefusalOf(r *http.Request) *Refusal {
	if r.Method != refusedMethod {
		return nil
	}
	return ConnOf(r).refusal.Load()
}

// readRequest reads a request and returns its response, or nil if no response will
// follow.
func (c *Conn) readRequest() *response {
	req, err := c.readHead()
	if err != nil || !c.claimIdle() {
		return nil
	}
	c.startRequest()
	req.RemoteAddr = c.remote
	w := &response{c: c, req: req, is11: req.ProtoAtLeast(1, 1), isHead: req.Method == http.MethodHead, length: -1}
	w.keepAlive10 = !w.is11 && message.HasToken(req.Header["Connection"], "keep-alive")
	w.closeAfter = req.Close
	if req.ContentLength != 0 {
		w.body = &body{Reader: bodyReader{c}, w: w}
		w.body.unread.Store(req.ContentLength)
		w.expectsContinue = w.is11 && req.Header["Expect"] != nil
		w.continuePending = w.expectsContinue
		req.Body = w.body
	}
	return w
}

// readHead reads the header of the next request. For a header that is refused it
// returns a stand-in.
func (c *Conn) readHead() (*http.Request, error) {
	for {
		c.discard(emptyLinesLen(c.buf))
		if r := c.parseRequest(c.buf); r != nil {
			return r, nil
		}
		if n, err := c.fillBuffer(); err != nil && n == 0 {
			if len(c.buf) == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.ownDeadlineExpired() {
				return nil, err
			}
			return c.refuse(&Refusal{Status: http.StatusRequestTimeout, Reason: "The request header did not arrive in time."}), nil
		}
	}
}

// emptyLinesLen returns the length of the empty lines at the beginning of b. They
// mean nothing before a request (RFC 9112 section 2.2).
func emptyLinesLen(b []byte) (n int) {
	for bytes.HasPrefix(b[n:], []byte("\r\n")) {
		n += 2
	}
	return n
}

// parseRequest parses the header at the beginning of b. It returns nil if more of
// the header must arrive first, and a stand-in if it refuses the header.
func (c *Conn) parseRequest(b []byte) *http.Request {
	most := c.server.settings.Load().MaxHeader
	b = b[:min(len(b), most)] // the result must not depend on how much more has arrived
	end, bare := endOfHead(b, min(c.scanned, len(b)))
	switch {
	case bare:
		return c.refuse(&Refusal{Status: http.StatusBadRequest, Reason: "A header line does not end in CRLF."})
	case end == 0 && len(b) < most:
		c.scanned = len(b)
		c.startHeaderTimeout()
		return nil
	case end == 0:
		return c.refuse(headerTooLarge(b))
	}
	c.scanned = 0
	h, refusal := parseHead(b[:end])
	if refusal != nil {
		return c.refuse(refusal)
	}
	r, err := c.newRequest(b[:end], h)
	if err != nil {
		return c.refuse(&Refusal{Status: http.StatusBadRequest, Reason: "The request target is not valid."})
	}
	c.discard(end)
	c.head = h
	c.requestRead.Store(false)
	c.chunks = message.Chunks{MaxTrailer: most}
	switch {
	case h.chunked:
		c.part = inChunks
	case h.length > 0:
		c.part, c.bodyLeft = inBody, h.length
	default:
		c.requestEnded()
	}
	return r
}

// headerTooLarge returns the refusal of a header that is too large.
func headerTooLarge(b []byte) *Refusal {
	line, _, whole := bytes.Cut(b, []byte("\r\n"))
	method, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	r := &Refusal{
		Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "The request header is too large.",
		Method: printable(method), Target: printable(target), Accept: acceptValue(b),
	}
	if !whole {
		r.Status, r.Reason = http.StatusRequestURITooLong, "The request target is too long."
	}
	return r
}

// requestEnded notes that the request was read to its end.
func (c *Conn) requestEnded() {
	c.part = inHead
	if c.head.upgrade {
		c.part = atUpgrade
	}
	c.requestRead.Store(true)
}

// refuse returns a stand-in that [RefusalOf] recognizes. Nothing more is read.
func (c *Conn) refuse(why *Refusal) *http.Request {
	c.refusal.Store(why)
	c.discard(len(c.buf))
	c.part = afterRefusal
	c.requestRead.Store(true)
	r := new(http.Request)
	*r = *c.requestTemplate
	r.Method, r.URL, r.RequestURI, r.Host = refusedMethod, &url.URL{Path: "/"}, "/", "refused"
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.Header, r.Body, r.Close = make(http.Header), http.NoBody, true
	return r
}

// newRequest makes a request from a header that was checked.
func (c *Conn) newRequest(b []byte, h head) (*http.Request, error) {
	line, fields := message.CutLine(b)
	method, target, version := cutRequestLine(line)
	r := new(http.Request)
	*r = *c.requestTemplate
	r.Method, r.RequestURI, r.Proto = internString(method), string(target), internString(version)
	r.ProtoMajor, r.ProtoMinor = 1, int(version[len("HTTP/1.")]-'0')
	r.Header, r.ContentLength, r.Body = message.ParseHeader(fields, h.fields), h.length, http.NoBody
	u, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return nil, err
	}
	r.URL, r.Host = u, u.Host
	if r.Host == "" {
		r.Host = r.Header.Get("Host")
	}
	delete(r.Header, "Host")
	connection := r.Header["Connection"]
	r.Close = message.HasToken(connection, "close") || r.ProtoMinor == 0 && !message.HasToken(connection, "keep-alive")
	if h.chunked {
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
		delete(r.Header, "Transfer-Encoding")
		for name := range message.Members(r.Header["Trailer"]) {
			if r.Trailer == nil {
				r.Trailer = make(http.Header)
			}
			r.Trailer[http.CanonicalHeaderKey(name)] = nil
		}
		delete(r.Header, "Trailer")
	}
	return r, nil
}

// internString returns b as a string, without an allocation if b is a common method
// or version.
func internString(b []byte) string {
	for _, s := range [...]string{http.MethodGet, "HTTP/1.1", http.MethodPost, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, "HTTP/1.0"} {
		if string(b) == s {
			return s
		}
	}
	return string(b)
}
