package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Handlers reach clients as they would through net/http's server: every handler of
// handlers_test.go responds to every request below, on both servers. The test
// compares the responses, except for the order of header lines, the date and the
// chunk boundaries; whether the connection is kept; and what the handler notes
// about the request and its errors.
//
// It leaves out what net/http itself does one way or the other, because of a race
// or the size of a buffer: how much of a response leaves that is aborted before it
// was flushed; how much of a body arrives before a deadline that has passed; and
// whether a connection is kept after a handler that enabled full duplex and did not
// read the body (net/http may panic then, because its two reads meet). A file
// longer than its Content-Length is left out too: net/http sends all of it.

// differences lists the pairs that are not compared. A * stands for any text.
var differences = []struct{ handler, request, why string }{
	{"abort before anything", afterContinue, hangs},
	{"abort after a header", afterContinue, hangs},
	{"abort after a small body", afterContinue, hangs},
	{"another panic", afterContinue, hangs},
	{"status 99", afterContinue, hangs},
	{"status 1000", afterContinue, hangs},
	{"write deadline over", afterContinue, hangs},
	{"body closed", afterContinue, hangs},
	{"body replaced", afterContinue, hangs},
	{"body read after a status", afterContinue, hangs},
	{"length that is n*", "*", "net/http sends it"},
	{"Connection: close in a list", "*", "net/http leaves the connection open"},
	{"Connection: Close", "*", "we send it as it was said"},
	{"Connection: other", "*", "net/http says nothing else when it closes the connection"},
	{"Connection nil", "*1.0, keep-alive", "net/http closes the connection and does not say so"},
	{"chunked, length", "*1.0, keep-alive", "net/http closes a connection that it says it keeps"},
	{"coding gzip", "*", "we send what we code, and no other coding"},
	{"status 101, upgraded", "POST*", "net/http closes the connection before the other protocol begins"},
	{"hijack after a write", "*", "net/http drops what was written"},
	{"abort after a part", "*", "we send the part"},
	{"body closed", "*", "we read what remains later, and Close returns no error"},
	{"body replaced", "POST*", "net/http forgets the body that was there"},
	{"body read after its end", "*cut", "Close returns no error"},
	{"duplex, body closed after a flush", "*", "Close returns no error"},
	{"read deadline over", "POST, *", "we read what remains with a deadline of our own"},
	{"body too large for http.MaxBytesReader", "*", "only net/http's own server is told by it"},
	{"*", "POST, cut", "net/http takes the rest of a body that the client has cut for an empty one, and does not say that it closes the connection"},
	{"echo", "POST*", "how much comes before the rest is read in the handler's place"},
	{"copied from a reader that fails", "*", "net/http's error is that of a copy to the connection"},
}

const (
	afterContinue = "*that expects, body after a 100"
	hangs         = "net/http answers nothing and waits for the body that it has not asked for"
)

// reasonToSkip returns why a pair is not compared, or an empty string.
func reasonToSkip(handler, request string) (why string) {
	for _, d := range differences {
		h, _ := path.Match(d.handler, handler)
		r, _ := path.Match(d.request, request)
		if h && r {
			return d.why
		}
	}
	return ""
}

// request is what a client sends. An @ in it stands for the id of the case.
type request struct {
	send    string
	methods []string // of its requests; nil means one
	after   string   // sent when 100 Continue has arrived
	half    bool     // the client closes its side
}

// unread is how much unread body makes net/http close the connection.
const unread = 256 << 10

var requests = map[string]request{
	"GET":                              {send: requestText("GET /a?b=%20c HTTP/1.1", "X-Two: a", "x-two: b", "X-Empty:")},
	"GET, absolute":                    {send: requestText("GET http://other:81/a HTTP/1.1")},
	"GET, range":                       {send: requestText("GET / HTTP/1.1", "Range: bytes=10-99")},
	"GET, Connection: close":           {send: requestText("GET / HTTP/1.1", "Connection: close")},
	"GET, Connection: Close in a list": {send: requestText("GET / HTTP/1.1", "Connection: X-Two, Close")},
	"GET, Connection: keep-alive":      {send: requestText("GET / HTTP/1.1", "Connection: keep-alive")},
	"GET, body":                        {send: requestText("GET / HTTP/1.1", "Content-Length: 3") + "abc"},
	"GET, upgrade":                     {send: requestText("GET / HTTP/1.1", "Connection: upgrade", "Upgrade: other")},
	"GET, half-closed":                 {send: requestText("GET / HTTP/1.1"), half: true},
	"GET 1.0":                          {send: requestText("GET / HTTP/1.0")},
	"GET 1.0, keep-alive":              {send: requestText("GET / HTTP/1.0", "Connection: keep-alive")},
	"GET 1.2":                          {send: requestText("GET / HTTP/1.2")},
	"HEAD":                             {send: requestText("HEAD / HTTP/1.1")},
	"HEAD, body":                       {send: requestText("HEAD / HTTP/1.1", "Content-Length: 3") + "abc"},
	"HEAD, Connection: close":          {send: requestText("HEAD / HTTP/1.1", "Connection: close")},
	"HEAD 1.0":                         {send: requestText("HEAD / HTTP/1.0")},
	"HEAD 1.0, keep-alive":             {send: requestText("HEAD / HTTP/1.0", "Connection: keep-alive")},
	"OPTIONS *":                        {send: requestText("OPTIONS * HTTP/1.1")},
	"PURGE":                            {send: requestText("PURGE /%2e%2F HTTP/1.1")},
	"POST":                             {send: postText(5)},
	"POST 0":                           {send: postText(0)},
	"POST 10000":                       {send: postText(10000)},
	"POST, just read":                  {send: postText(unread - 1)},
	"POST, too large":                  {send: postText(unread)},
	"POST 300000":                      {send: postText(300000)},
	"POST, Connection: close":          {send: requestText("POST / HTTP/1.1", "Content-Length: 5", "Connection: close") + "01234"},
	"POST, cut":                        {send: requestText("POST / HTTP/1.1", "Content-Length: 9") + "01234", half: true},
	"POST 1.0":                         {send: requestText("POST / HTTP/1.0", "Content-Length: 5") + "01234"},
	"POST 1.0, keep-alive":             {send: requestText("POST / HTTP/1.0", "Content-Length: 5", "Connection: keep-alive") + "01234"},
	"POST 1.0 that expects":            {send: requestText("POST / HTTP/1.0", "Content-Length: 5", "Expect: 100-continue") + "01234"},
	"POST chunks":                      {send: chunked + "3\r\nabc\r\n5;x=y\r\n01234\r\n0\r\n\r\n"},
	"POST chunks, none":                {send: chunked + "0\r\n\r\n"},
	"POST chunks, cut":                 {send: chunked + "3\r\nabc\r\n5\r\n01", half: true},
	"POST chunks, trailer":             {send: trailed + "3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"},
	"POST chunks 300000, trailer":      {send: trailed + strings.Repeat("2710\r\n"+string(bodyText(10000))+"\r\n", 30) + "0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"},

	"POST that expects, body at once":            {send: expecting + "01234"},
	"POST that expects, body after a 100":        {send: expecting, after: "01234"},
	"POST chunks that expects, body at once":     {send: expectingChunks + "3\r\nabc\r\n0\r\n\r\n"},
	"POST chunks that expects, body after a 100": {send: expectingChunks, after: "3\r\nabc\r\n0\r\n\r\n"},
	"POST 0 that expects":                        {send: requestText("POST / HTTP/1.1", "Content-Length: 0", "Expect: 100-continue")},

	"two GETs":                         {send: requestText("GET / HTTP/1.1") + requestText("GET /b HTTP/1.1"), methods: []string{"GET", "GET"}},
	"two POSTs, an empty line between": {send: postText(5) + "\r\n" + postText(7), methods: []string{"POST", "POST"}},
	"POST chunks and GET":              {send: chunked + "3\r\nabc\r\n0\r\n\r\n" + requestText("GET / HTTP/1.1"), methods: []string{"POST", "GET"}},
	"HEAD and GET":                     {send: requestText("HEAD / HTTP/1.1") + requestText("GET / HTTP/1.1"), methods: []string{"HEAD", "GET"}},
}

var (
	chunked         = requestText("POST / HTTP/1.1", "Transfer-Encoding: chunked")
	trailed         = requestText("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Trailer: X-Sum, X-Absent")
	expecting       = requestText("POST / HTTP/1.1", "Content-Length: 5", "Expect: 100-continue")
	expectingChunks = requestText("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Expect: 100-continue")
)

func requestText(line string, fields ...string) string {
	return strings.Join(append([]string{line, "Host: h:80", "Case: @"}, fields...), "\r\n") + "\r\n\r\n"
}

func postText(n int) string {
	return requestText("POST / HTTP/1.1", "Content-Length: "+strconv.Itoa(n)) + string(bodyText(n))
}

// Bodies are beginnings of long.
var long = bytes.Repeat([]byte("0123456789abcdef"), 20000)

// bodyText returns a body of n bytes, which nobody may change.
func bodyText(n int) []byte { return long[:n:n] }

// last is the request that shows whether the connection was kept.
const last = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

func TestResponsesAreThoseOfNetHTTP(t *testing.T) {
	t.Parallel()
	theirs, ours := newComparedServer(t, startNetHTTP), newComparedServer(t, startOurs)
	for handler, handle := range handlers(t) {
		t.Run(handler, func(t *testing.T) {
			t.Parallel()
			for name, r := range requests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					if why := reasonToSkip(handler, name); why != "" {
						t.Skip(why)
					}
					id := handler + " / " + name
					want, got := theirs.exchange(t, id, r, handle), ours.exchange(t, id, r, handle)
					if got != want {
						t.Errorf("handler %q, request %q: %s", handler, name, firstDifference(want, got))
					}
				})
			}
		})
	}
}

// firstDifference shows where two texts begin to differ.
func firstDifference(want, got string) string {
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	from := max(0, at-400)
	clip := func(s string) string { return s[from:min(len(s), at+300)] }
	return fmt.Sprintf("the same until byte %d\nnet/http %.700q\nours     %.700q", at, clip(want), clip(got))
}

// startOurs starts this package's server for the duration of the test.
func startOurs(t *testing.T, h http.Handler) (addr string) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	many := generous
	many.MaxConnections = 1000
	srv := Listen(tcp, many, func(err error, n int) { t.Error(err, n) })
	var serving sync.WaitGroup
	serving.Go(func() { srv.Serve(t.Context(), h, func(error) {}) }) // ends with srv
	t.Cleanup(func() { srv.Close(); serving.Wait() })
	return tcp.Addr().String()
}

// startNetHTTP starts net/http's server for the duration of the test.
func startNetHTTP(t *testing.T, h http.Handler) (addr string) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := http.Server{Handler: h, DisableGeneralOptionsHandler: true, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() { srv.Serve(tcp) }) // ends with srv
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil { // after the half second that it gives each client to read
			t.Error(err)
		}
		serving.Wait()
	})
	return tcp.Addr().String()
}

// comparedServer is one of the two servers, with its exchanges.
type comparedServer struct {
	addr      string
	mu        sync.Mutex // guards exchanges
	exchanges map[string]*exchange
	late      atomic.Bool // something did not arrive in time
}

// waitTime returns how long to wait for a response. It is short after a first
// failure, so that the test can report all handlers.
func (s *comparedServer) waitTime() time.Duration {
	if s.late.Load() {
		return soon
	}
	return testTimeout
}

func newComparedServer(t *testing.T, start func(*testing.T, http.Handler) string) *comparedServer {
	s := &comparedServer{exchanges: make(map[string]*exchange)}
	s.addr = start(t, s)
	return s
}

func (s *comparedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/last" {
		io.WriteString(w, "the last")
		return
	}
	s.mu.Lock()
	x := s.exchanges[r.Header.Get("Case")]
	s.mu.Unlock()
	r.Header.Del("Case")
	x.mu.Lock()
	defer x.mu.Unlock()
	x.contexts = append(x.contexts, r.Context())
	x.handle(w, r, x)
	x.note("done")
}

// exchange is one or more requests on a connection of their own. It is also the
// client's end of the connection.
type exchange struct {
	net.Conn
	side   *comparedServer
	handle handle

	mu       sync.Mutex // held by the handler; guards the next two fields
	notes    strings.Builder
	contexts []context.Context

	reading sync.Mutex // guards the next two fields
	got     []byte     // the first 64 kB
	ended   bool
	more    chan struct{} // signals a change of got or ended
}

type handle func(http.ResponseWriter, *http.Request, *exchange)

const halfClose = "" // stands for closing the client's side

// exchange returns the result of a request, in a form that can be compared.
func (s *comparedServer) exchange(t *testing.T, id string, r request, h handle) string {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(s.waitTime()))
	x := &exchange{Conn: c, side: s, handle: h, more: make(chan struct{}, 1)}
	s.mu.Lock()
	s.exchanges[id] = x
	s.mu.Unlock()

	say := make(chan string, 4)
	var saying sync.WaitGroup
	saying.Go(func() { // ends with say
		for what := range say {
			if what == halfClose {
				c.(*net.TCPConn).CloseWrite()
				continue
			}
			io.WriteString(c, what) // the response shows whether it arrived
		}
	})
	if head, body, _ := strings.Cut(r.send, "\r\n\r\n"); len(body) > 64<<10 {
		say <- strings.Replace(head, "@", id, 1) + "\r\n\r\n"
		say <- body
	} else {
		say <- strings.ReplaceAll(r.send, "@", id)
	}
	if r.half {
		say <- halfClose
	}
	all, err := x.readResponses(r, say)
	c.Close()
	close(say)
	saying.Wait()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.late.Store(true)
		t.Errorf("%s on %s: neither an answer nor the end comes after %.300q", id, s.addr, all)
	}

	x.mu.Lock() // the handlers have ended
	defer x.mu.Unlock()
	for _, ctx := range x.contexts {
		select {
		case <-ctx.Done():
		case <-time.After(s.waitTime()):
			s.late.Store(true)
			x.note("the context goes on")
		}
	}
	notes := strings.NewReplacer(c.LocalAddr().String(), "(client)", s.addr, "(server)").Replace(x.notes.String())
	return all + "\n" + notes
}

// readResponses reads responses until the connection ends, and notes what follows
// them.
func (x *exchange) readResponses(r request, say chan<- string) (string, error) {
	methods := r.methods
	if methods == nil {
		method, _, _ := strings.Cut(r.send, " ")
		methods = []string{method}
	}
	methods = append(slices.Clone(methods), "GET")
	in := bufio.NewReader(x)
	var all strings.Builder
	for {
		h, err := readHeader(in)
		all.WriteString(h.text)
		if err != nil {
			err = noteEnd(&all, err)
			return all.String(), err
		}
		if r.after != "" && (h.status == 100 || h.status >= 200) {
			if h.status >= 200 {
				r.after, r.half = halfClose, true
			}
			say <- r.after
			r.after = ""
		}
		if h.status < 200 && h.status != http.StatusSwitchingProtocols {
			continue
		}
		if err := h.readBody(in, methods[0], &all); err != nil {
			err = noteEnd(&all, err)
			return all.String(), err
		}
		if len(methods) > 1 {
			methods = methods[1:]
			if len(methods) == 1 && !r.half {
				say <- last
			}
		}
	}
}

// noteEnd notes how a connection ended. A reset only means that something that the
// client sent was not read.
func noteEnd(all *strings.Builder, err error) error {
	if errors.Is(err, syscall.ECONNRESET) {
		err = io.EOF
	}
	fmt.Fprintf(all, "[%v]", err)
	return err
}

// header is the header of a response.
type header struct {
	status int
	lines  []string
	text   string
}

func readHeader(in *bufio.Reader) (h header, err error) {
	line, err := in.ReadString('\n')
	h.text = line
	if err != nil {
		return h, err
	}
	if _, scanErr := fmt.Sscanf(line, "HTTP/1.%d %d ", new(int), &h.status); scanErr != nil {
		rest, err := io.ReadAll(in)
		h.text += string(rest) + "[that is no HTTP]"
		return h, orEOF(err)
	}
	h.lines, err = readLines(in)
	h.text += strings.Join(h.lines, "") + "--\n"
	return h, err
}

// orEOF returns what ended a read that should have reached the end.
func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// readLines reads lines up to an empty one, and sorts them.
func readLines(in *bufio.Reader) (lines []string, err error) {
	for {
		line, err := in.ReadString('\n')
		if date, ok := strings.CutPrefix(line, "Date: "); ok {
			at, err := http.ParseTime(strings.TrimSuffix(date, "\r\n"))
			if err == nil && time.Since(at).Abs() < time.Minute {
				line = "Date: now\r\n"
			}
		}
		if err != nil || line == "\r\n" {
			slices.Sort(lines)
			if err != nil {
				lines = append(lines, line+"[cut]")
			}
			return lines, err
		}
		lines = append(lines, line)
	}
}

// readBody reads a body and a trailer, and removes the chunk framing.
func (h *header) readBody(in *bufio.Reader, method string, all *strings.Builder) error {
	if method == http.MethodHead || h.status == 101 || h.status == 204 || h.status == 304 {
		return nil
	}
	for _, line := range h.lines {
		name, value, _ := strings.Cut(strings.ToLower(line), ":")
		value = strings.TrimSpace(value)
		if name == "transfer-encoding" && value == "chunked" {
			return readChunks(in, all)
		}
		if n, err := strconv.ParseInt(value, 10, 64); name == "content-length" && err == nil && n >= 0 {
			return readN(in, all, n)
		}
	}
	_, err := io.Copy(all, in)
	return orEOF(err)
}

func readN(in *bufio.Reader, all *strings.Builder, n int64) error {
	_, err := io.CopyN(all, in, n)
	if err != nil {
		all.WriteString("[cut]")
	}
	return err
}

func readChunks(in *bufio.Reader, all *strings.Builder) error {
	for {
		line, err := in.ReadString('\n')
		size, bad := strconv.ParseInt(strings.TrimSuffix(line, "\r\n"), 16, 64)
		switch {
		case err != nil:
			fmt.Fprintf(all, "%s[cut]", line)
			return err
		case bad != nil:
			fmt.Fprintf(all, "[no size of a chunk]%s", line)
			_, err := io.Copy(all, in)
			return orEOF(err)
		case size == 0:
			lines, err := readLines(in)
			fmt.Fprintf(all, "--\n%s", strings.Join(lines, ""))
			return err
		}
		if err := readN(in, all, size); err != nil {
			return err
		}
		if end, _ := in.Peek(2); string(end) == "\r\n" {
			in.Discard(2)
		}
	}
}

// Read implements [net.Conn] and keeps what arrives.
func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.Conn.Read(p)
	x.reading.Lock()
	x.got = append(x.got, p[:min(n, max(0, 64<<10-len(x.got)))]...)
	x.ended = err != nil
	x.reading.Unlock()
	select {
	case x.more <- struct{}{}:
	default:
	}
	return n, err
}

// awaitNote waits until the client has read a text.
func (x *exchange) awaitNote(what string) {
	patient := time.After(x.side.waitTime() / 2) // shorter than the client's
	for {
		x.reading.Lock()
		came, ended := bytes.Contains(x.got, []byte(what)), x.ended
		x.reading.Unlock()
		switch {
		case came:
			return
		case ended:
			x.note("%q has not arrived", what)
			return
		}
		select {
		case <-x.more:
		case <-patient:
			x.side.late.Store(true)
			x.note("%q does not arrive", what)
			return
		}
	}
}

func (x *exchange) note(format string, args ...any) {
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			args[i] = errorKind(err)
		}
	}
	fmt.Fprintf(&x.notes, format+"\n", args...)
}

// errorKind returns the error that handlers check for.
func errorKind(err error) error {
	for _, k := range []error{
		io.ErrUnexpectedEOF, io.EOF, os.ErrDeadlineExceeded, context.Canceled, net.ErrClosed, http.ErrBodyReadAfterClose,
		http.ErrContentLength, http.ErrBodyNotAllowed, http.ErrHijacked, http.ErrNotSupported,
	} {
		if errors.Is(err, k) {
			return k
		}
	}
	return err
}
