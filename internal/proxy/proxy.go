package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Settings bound what a request may take. A timeout of 0 is none.
type Settings struct {
	ReadTimeout  time.Duration // for a request body in which nothing moves
	WriteTimeout time.Duration // until an answer begins, and while nothing of it moves
	HoldTimeout  time.Duration // for a worker to become ready
	MaxHeld      int           // requests that wait, a route
}

// Proxy is the handler of all pages.
type Proxy struct {
	settings atomic.Pointer[Settings]
	match    atomic.Pointer[func(path string) (*Route, bool)]
	forward  httputil.ReverseProxy
}

// New returns a Proxy that knows no route.
func New(s Settings) *Proxy {
	p := new(Proxy)
	p.Configure(s)
	p.Match(func(string) (*Route, bool) { return nil, false })
	p.forward = httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      roundTripper{p},
		ModifyResponse: modify,
		ErrorHandler:   p.fail,
		BufferPool:     &buffers{},
		ErrorLog:       log.New(io.Discard, "", 0), // what went wrong is in the answer, or it was the client who left
	}
	return p
}

// Configure changes the settings, from the next request on.
func (p *Proxy) Configure(s Settings) { p.settings.Store(&s) }

// Match changes how the route of a path is found, from the next request on.
func (p *Proxy) Match(match func(path string) (*Route, bool)) { p.match.Store(&match) }

// ServeHTTP answers a request by the page whose route it falls under.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID(r.Header.Get("X-Request-Id"))
	w.Header().Set("X-Request-Id", id)
	route, ok := (*p.match.Load())(r.URL.Path)
	if !ok {
		refuse(w, r, notFound)
		return
	}
	x := &exchange{route: route, settings: p.settings.Load(), id: id, client: http.NewResponseController(w), request: r}
	x.ctx, x.cancel = context.WithCancelCause(r.Context())
	defer x.end()
	if refusal := x.acquire(); refusal != nil {
		p.fail(w, r, &refusalError{refusal})
		return
	}
	forwarded := r.WithContext(context.WithValue(x.ctx, exchangeKey{}, x))
	if r.ContentLength != 0 {
		x.client.EnableFullDuplex() // an answer may come before the body was read (golang.org/issue/40747)
		x.body = &requestBody{ReadCloser: r.Body, x: x}
		forwarded.Body = x.body
	}
	x.watch()
	p.forward.ServeHTTP(w, forwarded)
}

var notFound = Refusal{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no page here."}

// rewrite makes the request that the worker sees.
func rewrite(pr *httputil.ProxyRequest) {
	x := pr.In.Context().Value(exchangeKey{}).(*exchange)
	pr.SetXForwarded()
	out := pr.Out
	out.URL.Scheme, out.URL.Host = "http", "worker"
	out.URL.RawQuery, out.URL.ForceQuery = pr.In.URL.RawQuery, pr.In.URL.ForceQuery
	if path, _, _ := strings.Cut(pr.In.RequestURI, "?"); strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") {
		out.URL.Opaque = path // byte for byte
	}
	out.Header.Set("X-Request-Id", x.id)
	// net/http takes these for leave to send a request twice. The worker sees
	// them all the same: names of header fields have no case.
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if v, ok := out.Header[name]; ok {
			delete(out.Header, name)
			out.Header[strings.ToLower(name)] = v
		}
	}
}

// modify sees the worker's answer before the client does.
func modify(resp *http.Response) error {
	x := resp.Request.Context().Value(exchangeKey{}).(*exchange)
	resp.Header.Set("X-Request-Id", x.id)
	x.answered.Store(true)
	x.moved()
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	switch conn, upgraded := resp.Body.(io.ReadWriteCloser); {
	case resp.StatusCode == http.StatusSwitchingProtocols && upgraded:
		x.stream = true
		u := &upgradedConn{ReadWriteCloser: conn, x: x}
		if strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
			u.frames = new(frames)
		}
		resp.Body = u
	default:
		x.stream = strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
		resp.Body = &responseBody{ReadCloser: resp.Body, x: x}
	}
	if x.stream {
		x.backend.addStream(x)
	}
	return nil
}

// fail answers in a worker's place.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	x, _ := r.Context().Value(exchangeKey{}).(*exchange)
	var refusal *refusalError
	switch {
	case errors.As(err, &refusal):
		refuse(w, r, *refusal.Refusal)
	case x != nil && errors.Is(context.Cause(x.ctx), errSlowClient):
		refuse(w, r, Refusal{Status: http.StatusRequestTimeout, Title: "Request timeout", Detail: "The request's body stopped coming."})
	case x != nil && errors.Is(context.Cause(x.ctx), errSlowWorker):
		refuse(w, r, Refusal{Status: http.StatusGatewayTimeout, Title: "Gateway timeout", Detail: "The page did not answer in time."})
	case x != nil && x.request.Context().Err() != nil, x != nil && x.body != nil && x.body.failed.Load():
		panic(http.ErrAbortHandler) // the client left: nobody is there to answer
	default:
		refuse(w, r, Refusal{Status: http.StatusBadGateway, Title: "Bad gateway", Detail: "The page ended before it answered, or its answer could not be read."})
	}
}

// roundTripper sends a request to the backend that was claimed for it, and to
// another where that may be done without running anything twice.
type roundTripper struct{ p *Proxy }

func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	x := req.Context().Value(exchangeKey{}).(*exchange)
	repeats, pause := 0, time.Millisecond
	for {
		var wrote atomic.Bool
		ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
		resp, err := x.backend.transport.RoundTrip(req.WithContext(ctx))
		if err == nil || x.ctx.Err() != nil {
			return resp, err
		}
		var dial *net.OpError
		switch unsent := errors.As(err, &dial) && dial.Op == "dial"; {
		case unsent, !wrote.Load() && !x.body.touched():
			// Nothing was sent. Who ended will be noticed in a moment.
			left := x.route.current().left
			x.release()
			if refusal := x.wait(left, pause); refusal != nil {
				return nil, &refusalError{refusal}
			}
			pause = min(2*pause, 50*time.Millisecond)
		case req.Body == nil && repeatable[req.Method] && repeats < maxRepeats:
			repeats++
			x.release()
		default:
			return nil, err
		}
		if refusal := x.acquire(); refusal != nil {
			return nil, &refusalError{refusal}
		}
	}
}

// maxRepeats bounds how often a request that reached a worker is repeated: it
// may be what kills them.
const maxRepeats = 2

var repeatable = map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true}

type refusalError struct{ *Refusal }

func (e *refusalError) Error() string { return e.Title }

// requestID keeps what a client calls its request if that is harmless, or
// makes a name that nobody can guess.
func requestID(sent string) string {
	if sent == "" || len(sent) > 128 {
		return rand.Text()
	}
	for _, c := range []byte(sent) {
		if c <= ' ' || c > '~' {
			return rand.Text()
		}
	}
	return sent
}

// buffers keeps what bodies are copied through.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }
