package proxy

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/accesslog"
	"tqserver/internal/wire"
)

// Settings bound what a request may take. A timeout of 0 is none, but with a
// HoldTimeout of 0 no request waits.
type Settings struct {
	ReadTimeout  time.Duration // while nothing of a request body comes
	WriteTimeout time.Duration // until an answer begins, and while nothing of it moves
	HoldTimeout  time.Duration // for a worker to become ready
	MaxHeld      int           // requests that wait, a route

	TrustedProxies []netip.Prefix // whose X-Forwarded-* counts
	MinBodyRate    int            // bytes a second of a request body, after a grace of 10 s; 0 for any

	// MaxBody is how many bytes the body of a request for a path may have; 0, or
	// no function, is no limit.
	MaxBody func(path string) int64

	bodyGrace time.Duration // of tests; 0 for the usual one
}

// Proxy is the handler of all pages.
type Proxy struct {
	settings atomic.Pointer[Settings]
	match    atomic.Pointer[func(path string) (*Route, bool)]
	files    atomic.Pointer[func(*http.Request) (http.Handler, bool)]
	record   atomic.Pointer[func(accesslog.Record)]
	develop  atomic.Pointer[Development]
	forward  httputil.ReverseProxy
}

// New returns a Proxy that knows no route.
func New(s Settings) *Proxy {
	p := new(Proxy)
	p.Configure(s)
	p.Match(func(string) (*Route, bool) { return nil, false })
	p.Files(func(*http.Request) (http.Handler, bool) { return nil, false })
	p.Record(func(accesslog.Record) {})
	p.forward = httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      roundTripper{p},
		ModifyResponse: modify,
		ErrorHandler:   p.fail,
		BufferPool:     &buffers{},
		FlushInterval:  time.Millisecond,           // of answers with a length, the others are flushed at once
		ErrorLog:       log.New(io.Discard, "", 0), // what went wrong is in the answer, or it was the client who left
	}
	return p
}

// Configure changes the settings, from the next request on.
func (p *Proxy) Configure(s Settings) { p.settings.Store(&s) }

// Match changes how the route of a path is found, from the next request on.
func (p *Proxy) Match(match func(path string) (*Route, bool)) { p.match.Store(&match) }

// Record changes who is told of every exchange when it has ended, from the next
// one that ends on. It is called by the goroutine of the request.
func (p *Proxy) Record(record func(accesslog.Record)) { p.record.Store(&record) }

// ServeHTTP answers a request by the page whose route it falls under.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{began: time.Now(), settings: p.settings.Load(), develop: p.develop.Load(), client: http.NewResponseController(w)}
	x.identity = identify(r, x.settings.TrustedProxies)
	x.ctx, x.cancel = context.WithCancelCause(r.Context())
	x.answer = countedWriter{ResponseWriter: w}
	w = &x.answer
	x.writer = clientWriter{http10: !r.ProtoAtLeast(1, 1), expects: r.Header.Get("Expect") != ""}
	defer p.end(x)
	if r.ContentLength != 0 {
		x.client.EnableFullDuplex() // an answer may come before the body was read (golang.org/issue/40747)
		x.body = newRequestBody(x, r)
		if client := wire.Of(r); client != nil {
			x.lookAfter(client)
		}
	}
	r = r.WithContext(context.WithValue(x.ctx, exchangeKey{}, x))
	x.request = r
	if !p.admit(w, r) {
		return
	}
	if x.develop.reserves(r.URL.Path) {
		x.name(w.Header())
		x.develop.Reserved.ServeHTTP(w, r)
		return
	}
	if route, ok := (*p.match.Load())(r.URL.Path); ok {
		x.route = route
	}
	if x.develop != nil && x.develop.Dress != nil {
		dressed, end := x.develop.Dress(w, r, x.routeName())
		whole := false
		defer func() { end(whole) }()
		p.answer(dressed, r)
		whole = true
		return
	}
	p.answer(w, r)
}

// answer answers a request whose route, if there is one, is known.
func (p *Proxy) answer(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	if p.serveFile(w, r) {
		return
	}
	if x.route == nil {
		p.fail(w, r, &refusalError{&notFound})
		return
	}
	if x.body.tooLarge(r) {
		p.fail(w, r, errTooLarge)
		return
	}
	x.awaitNewer()
	if refusal := x.acquire(); refusal != nil {
		p.fail(w, r, &refusalError{refusal})
		return
	}
	x.watch(true)
	x.writer.ResponseWriter = w
	p.forward.ServeHTTP(&x.writer, r)
}

var notFound = Refusal{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no page here."}

// end ends an exchange and has it recorded.
func (p *Proxy) end(x *exchange) {
	r := x.access() // the backend is given back in a moment
	x.end()
	(*p.record.Load())(r)
}

// rewrite makes the request that the worker sees.
func rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In)
	out := pr.Out
	out.URL.Scheme, out.URL.Host = "http", "worker"
	out.URL.RawQuery, out.URL.ForceQuery = pr.In.URL.RawQuery, pr.In.URL.ForceQuery
	if path, _, _ := strings.Cut(pr.In.RequestURI, "?"); strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") {
		out.URL.Opaque = path // byte for byte
	}
	out.Trailer = x.body.trailers()
	if x.writer.http10 || namesHTTP2(out.Header.Get("Upgrade")) {
		delete(out.Header, "Connection")
		delete(out.Header, "Upgrade")
		delete(out.Header, "Http2-Settings")
	}
	if pr.In.Host == "" {
		out.Host = noHost
	}
	x.tell(pr.In, out.Header)
	// net/http takes these for leave to send a request twice. The worker sees
	// them all the same: names of header fields have no case.
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if v, ok := out.Header[name]; ok {
			delete(out.Header, name)
			out.Header[strings.ToLower(name)] = v
		}
	}
}

// namesHTTP2 reports whether an Upgrade asks for HTTP/2 (RFC 7540 section 3.2,
// which RFC 9113 section 3.1 takes back). With a worker that speaks it the
// client would make further requests that nobody here reads. An upgrade may
// always be ignored, as that of an HTTP/1.0 client must be (RFC 9110 section
// 7.8).
func namesHTTP2(upgrade string) bool {
	for protocol := range strings.SplitSeq(strings.ToLower(upgrade), ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(protocol), "/")
		if name == "h2c" || name == "h2" || name == "http" {
			return true
		}
	}
	return false
}

// noHost is a Host that net/http sends as an empty one, because no host can be
// called so. For an empty one it would put the name by which we call workers.
const noHost = " "

// modify sees the worker's answer before the client does.
func modify(resp *http.Response) error {
	x := exchangeOf(resp.Request)
	if resp.StatusCode < 100 {
		return errors.New("the worker's answer has no status") // net/http would panic
	}
	x.name(resp.Header)
	if x.develop != nil {
		x.tellOrigin(resp.Header)
	}
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	switch conn, upgraded := resp.Body.(io.ReadWriteCloser); {
	case resp.StatusCode == http.StatusSwitchingProtocols && upgraded:
		x.stream = true
		x.upgraded = &upgradedConn{ReadWriteCloser: conn, x: x, conn: x.conn}
		if strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
			x.upgraded.frames = new(frames)
		}
		x.route.traffic.upgraded.Add(1)
		resp.Body = x.upgraded
	default:
		x.stream = strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
		resp.Body = &responseBody{ReadCloser: resp.Body, x: x}
		if len(x.required) > 0 {
			resp.Header["Upgrade"] = x.required
			resp.Header.Set("Connection", "Upgrade")
		}
		if x.body.pending() {
			closeAfter(resp.Header)
		}
	}
	x.status = resp.StatusCode
	x.answered.Store(true)
	x.moved()
	if x.stream {
		x.backend.addStream(x)
	}
	return nil
}

// fail answers in a worker's place.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r)
	x.name(w.Header())
	if x.body.pending() {
		closeAfter(w.Header())
	}
	refusal := x.failure(err)
	x.status = refusal.Status
	refuse(w, r, refusal, x.develop)
}

// failure is what to tell a client of an error. If it has left it is told
// nothing: failure panics with [http.ErrAbortHandler].
func (x *exchange) failure(err error) Refusal {
	cause := context.Cause(x.ctx)
	var refusal *refusalError
	switch fault := x.body.fault(); {
	case errors.As(err, &refusal):
		return *refusal.Refusal
	case fault != nil: // net/http takes it for the client's leaving
		return Refusal{Status: fault.Status, Title: http.StatusText(fault.Status), Detail: fault.Reason}
	case cause == errSlowClient:
		return Refusal{Status: http.StatusRequestTimeout, Title: "Request timeout", Detail: "The request's body stopped coming, or came too slowly."}
	case err == errTooLarge, cause == errTooLarge:
		return Refusal{Status: http.StatusRequestEntityTooLarge, Title: "Content too large", Detail: "The request's body is larger than this page takes."}
	case cause == errSlowWorker:
		return Refusal{Status: http.StatusGatewayTimeout, Title: "Gateway timeout", Detail: "The page did not answer in time."}
	case cause != nil, x.body.broken() && errors.Is(err, io.ErrUnexpectedEOF):
		panic(http.ErrAbortHandler)
	case x.body.broken():
		return Refusal{Status: http.StatusBadRequest, Title: "Bad request", Detail: "The request's body could not be read."}
	}
	return Refusal{Status: http.StatusBadGateway, Title: "Bad gateway", Detail: "The page ended before it answered, or its answer could not be read."}
}

// closeAfter ends the client's connection after an answer that came before the
// request's body: what is left of that must not be taken for another request,
// and with full duplex net/http does not see to it.
func closeAfter(h http.Header) { h.Add("Connection", "close") }

// buffers keeps what bodies are copied through.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }
