package upstream

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tqserver/internal/recovered"
	"tqserver/internal/socket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout limits how long a test waits for the worker.
const testTimeout = 30 * time.Second

// fakeWorker serves connections by a script.
type fakeWorker struct {
	*Pool
	conns atomic.Int32 // accepted so far
}

// startWorker starts a worker that runs a script for each connection, with the
// number of the connection, and then closes it.
func startWorker(t *testing.T, script func(n int, c net.Conn, r *bufio.Reader)) *fakeWorker {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	w := new(fakeWorker)
	w.Pool = NewPool(testTimeout, func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", l.Addr().String())
		if err != nil {
			return nil, err
		}
		return socket.NewConn(c.(*net.UnixConn))
	})
	ended := make(chan struct{})
	go func() { // ends with the listener
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(testTimeout))
			script(int(w.conns.Add(1)), c, bufio.NewReader(c))
			c.Close()
		}
	}()
	t.Cleanup(func() { w.Close(); l.Close(); <-ended })
	return w
}

// readHeader reads the header of a request, and reports whether there was one.
func readHeader(r *bufio.Reader) (text string, ok bool) {
	for {
		line, err := r.ReadString('\n')
		if text += line; err != nil {
			return text, false
		}
		if line == "\r\n" {
			return text, true
		}
	}
}

func newExchange(method string, body io.Reader) *Exchange {
	x := &Exchange{Method: method, Target: "/x", Host: "page", Body: body}
	if body != nil {
		x.Length = -1
	}
	return x
}

// roundTrip makes an exchange and returns the status and body of the response.
func (w *fakeWorker) roundTrip(t *testing.T, x *Exchange) (status int, body string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	resp, err := w.RoundTrip(ctx, x)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	x.Wait()
	return resp.StatusCode, string(b), err
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestWhatIsSentIsTheRequest(t *testing.T) {
	t.Parallel()
	for want, x := range map[string]func() *Exchange{
		"GET /x HTTP/1.1\r\nHost: page\r\nB: 3\r\nA: 1\r\nA: 2\r\n\r\n": func() *Exchange {
			x := newExchange("GET", nil)
			x.Fields = []Field{{"B", "3"}, {"A", "1"}, {"Content-Length", "9"}, {"A", "2"}, {"Transfer-Encoding", "x"}, {"Host", "other"}, {"Trailer", "t"}}
			return x
		},
		"POST /x HTTP/1.1\r\nHost: page\r\nContent-Length: 0\r\n\r\n": func() *Exchange { return newExchange("POST", nil) },
		"PURGE /x HTTP/1.1\r\nHost: \r\n\r\n":                         func() *Exchange { x := newExchange("PURGE", nil); x.Host = ""; return x },
		"PUT /x HTTP/1.1\r\nHost: page\r\nContent-Length: 5\r\n\r\nhello": func() *Exchange {
			x := newExchange("PUT", strings.NewReader("hello"))
			x.Length = 5
			return x
		},
		"PUT /x HTTP/1.1\r\nHost: page\r\nContent-Length: 6\r\n\r\nat one": func() *Exchange {
			x := newExchange("PUT", strings.NewReader(" one"))
			x.Length, x.BodyStart = 6, []byte("at")
			return x
		},
		"PUT /x HTTP/1.1\r\nHost: page\r\nContent-Length: 7\r\n\r\nat once": func() *Exchange {
			x := newExchange("PUT", errReader{errors.New("nothing is left to read")})
			x.Length, x.BodyStart = 7, []byte("at once")
			return x
		},
		"PUT /x HTTP/1.1\r\nHost: page\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n5\r\nhello\r\n0\r\nT: end\r\n\r\n": func() *Exchange {
			x := newExchange("PUT", strings.NewReader("hello"))
			x.Trailer = http.Header{"T": {"end"}}
			return x
		},
	} {
		w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			got := make([]byte, len(want))
			io.ReadFull(r, got)
			if string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
			io.WriteString(c, ok)
		})
		if status, body, err := w.roundTrip(t, x()); status != 200 || body != "ok" || err != nil {
			t.Errorf("%q: %d %q, %v", want, status, body, err)
		}
	}
}

// The worker has closed the connection just before a request.
func TestBodyStartIsSentOnAnotherConnection(t *testing.T) {
	t.Parallel()
	first := strings.Repeat("x", 40<<10) // more than a buffer
	closed := make(chan struct{})
	w := startWorker(t, func(n int, c net.Conn, r *bufio.Reader) {
		readHeader(r)
		if n == 1 {
			io.WriteString(c, ok)
			c.Close()
			close(closed)
			return
		}
		body := make([]byte, len(first)+len(" and the rest"))
		if io.ReadFull(r, body); string(body) != first+" and the rest" {
			t.Errorf("%d bytes came, %.9q at their end", len(body), body[len(first):])
		}
		io.WriteString(c, ok)
	})
	if status, _, err := w.roundTrip(t, newExchange("GET", nil)); status != 200 || err != nil {
		t.Fatal(status, err)
	}
	<-closed
	x := newExchange("POST", strings.NewReader(" and the rest"))
	x.Length, x.BodyStart = int64(len(first)+len(" and the rest")), []byte(first)
	if status, _, err := w.roundTrip(t, x); status != 200 || err != nil || !x.WroteHeader() {
		t.Error(status, err, x.WroteHeader())
	}
}

func TestWhatCannotBeWrittenIsNotSent(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(x *Exchange){
		"target with a line":  func(x *Exchange) { x.Target = "/ HTTP/1.1\r\nX: y" },
		"target with a space": func(x *Exchange) { x.Target = "/a b" },
		"method with a space": func(x *Exchange) { x.Method = "GET /" },
		"host with a line":    func(x *Exchange) { x.Host = "a\nb" },
		"value with a line":   func(x *Exchange) { x.Fields = []Field{{"A", "b\r\nC: d"}} },
		"value with a nul":    func(x *Exchange) { x.Fields = []Field{{"A", "b\x00"}} },
		"name with a line":    func(x *Exchange) { x.Fields = []Field{{"A\r\nB", "c"}} },
	} {
		w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			if text, _ := readHeader(r); text != "" {
				t.Errorf("%s: the worker got %q", name, text)
			}
		})
		x := newExchange("GET", nil)
		spoil(x)
		if _, _, err := w.roundTrip(t, x); err == nil || x.WroteHeader() {
			t.Errorf("%s: %v, wrote %v", name, err, x.WroteHeader())
		}
	}
}

// The worker of this test responds to every request with the number of the
// connection.
func TestAConnectionIsUsedAgainOnlyIfBothMessagesEndedOnIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer string
		again  bool
		method string
		closes bool // the worker closes the connection after the response
		unread bool // the client closes the body before its end
		body   io.Reader
	}{
		"length":               {answer: ok, again: true},
		"chunks":               {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", again: true},
		"no content":           {answer: "HTTP/1.1 204 No Content\r\n\r\n", again: true},
		"not modified":         {answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", again: true},
		"of HEAD":              {answer: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", method: "HEAD", again: true},
		"after interim ones":   {answer: "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ok, again: true},
		"with a body sent":     {answer: ok, again: true, method: "POST", body: strings.NewReader("hello")},
		"close":                {answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"},
		"HTTP/1.0":             {answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		"until the end":        {answer: "HTTP/1.1 200 OK\r\n\r\nok", closes: true},
		"more than the answer": {answer: ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"},
		"a line more":          {answer: ok + "\r\n"},
		"closed":               {answer: ok, closes: true},
		"not read":             {answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", unread: true},
		"chunks without end":   {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", unread: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			closed := make(chan struct{}, 8)
			w := startWorker(t, func(n int, conn net.Conn, r *bufio.Reader) {
				for {
					if _, ok := readHeader(r); !ok {
						break
					}
					if c.body != nil {
						line, _ := r.ReadString('\n')
						for line != "0\r\n" && line != "" {
							line, _ = r.ReadString('\n')
						}
						r.ReadString('\n')
					}
					io.WriteString(conn, c.answer)
					if c.closes {
						break
					}
				}
				conn.Close()
				closed <- struct{}{}
			})
			x := newExchange(cmp.Or(c.method, "GET"), c.body)
			resp, err := w.RoundTrip(t.Context(), x)
			if err != nil {
				t.Fatal(err)
			}
			if !c.unread {
				if b, err := io.ReadAll(resp.Body); err != nil || len(b) > 2 {
					t.Fatalf("%q, %v", b, err)
				}
			}
			resp.Body.Close()
			x.Wait()
			if !c.again {
				select {
				case <-closed: // else the second request might be sent before
				case <-time.After(testTimeout):
					t.Fatal("the connection stays open")
				}
			}
			c.body = nil
			if resp, err = w.RoundTrip(t.Context(), newExchange(cmp.Or(c.method, "GET"), nil)); err != nil {
				if c.again {
					t.Fatal(err)
				}
				return
			}
			resp.Body.Close()
			if again := w.conns.Load() == 1; again != c.again {
				t.Errorf("used again: %v", again)
			}
		})
	}
}

func TestAnInvalidResponseIsAnError(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		"", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "HTTP/1.1 099 Odd\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", maxHeader) + "\r\n\r\n",
		strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <"+strings.Repeat("a", 1000)+">\r\n\r\n", 2000) + ok,
	} {
		w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) { readHeader(r); io.WriteString(c, answer) })
		x := newExchange("GET", nil)
		if status, _, err := w.roundTrip(t, x); err == nil {
			t.Errorf("%.40q: %d", answer, status)
		}
		if !x.WroteHeader() || x.GotFirstByte() != (answer != "") {
			t.Errorf("%.40q: wrote %v, began %v", answer, x.WroteHeader(), x.GotFirstByte())
		}
	}
}

func TestATruncatedResponseIsAnError(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
	} {
		w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) { readHeader(r); io.WriteString(c, answer) })
		if _, body, err := w.roundTrip(t, newExchange("GET", nil)); err == nil {
			t.Errorf("%q: %q is whole", answer, body)
		}
	}
}

func TestWithoutAConnectionNothingWasSent(t *testing.T) {
	t.Parallel()
	no := errors.New("nobody there")
	p := NewPool(testTimeout, func(context.Context) (net.Conn, error) { return nil, no })
	x := newExchange("GET", nil)
	if _, err := p.RoundTrip(t.Context(), x); err != no || x.WroteHeader() || x.GotFirstByte() {
		t.Errorf("%v, wrote %v, began %v", err, x.WroteHeader(), x.GotFirstByte())
	}
}

func TestTheEndOfTheContextEndsTheWaitForAConnection(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := NewPool(testTimeout, func(ctx context.Context) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	})
	x := newExchange("GET", nil)
	if _, err := p.RoundTrip(ctx, x); err != context.Canceled || x.WroteHeader() {
		t.Errorf("%v, wrote %v", err, x.WroteHeader())
	}
}

func TestCancelEndsTheExchange(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"before the answer": "", "in its header": "HTTP/1.1 200", "in its body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"} {
		gone := make(chan struct{})
		w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readHeader(r)
			io.WriteString(c, answer)
			io.Copy(io.Discard, r)
			close(gone)
		})
		x := newExchange("GET", nil)
		x.Sent = func() { time.AfterFunc(10*time.Millisecond, x.Cancel) }
		resp, err := w.RoundTrip(t.Context(), x)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		select {
		case <-gone:
		case <-time.After(testTimeout):
			t.Fatalf("%s: the worker was not told", name)
		}
	}
}

func TestIdleConnectionsAreClosedInTime(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 1)
	w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			if _, ok := readHeader(r); !ok {
				break
			}
			io.WriteString(c, ok)
		}
		gone <- struct{}{}
	})
	w.idleTimeout = 50 * time.Millisecond
	began := time.Now()
	if _, _, err := w.roundTrip(t, newExchange("GET", nil)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(testTimeout):
		t.Fatal("it stays open")
	}
	if took := time.Since(began); took < w.idleTimeout {
		t.Errorf("closed after %v", took)
	}
	if _, _, err := w.roundTrip(t, newExchange("GET", nil)); err != nil || w.conns.Load() != 2 {
		t.Errorf("%v on connection %d", err, w.conns.Load())
	}
	w.Close()
	select {
	case <-gone:
	case <-time.After(testTimeout):
		t.Fatal("Close leaves an idle one open")
	}
}

func TestAWorkerIsAskedWhetherItWantsTheBody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says string // what the worker sends before the body
		body string // what arrives of the body
	}{
		"yes": {"HTTP/1.1 100 Continue\r\n\r\n", "hello"},
		"no":  {"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", ""},
		"":    {"", "hello"},
	} {
		got := make(chan string, 1)
		w := startWorker(t, func(_ int, conn net.Conn, r *bufio.Reader) {
			readHeader(r)
			if name == "" { // sent unasked after a while
				r.Peek(1)
			}
			io.WriteString(conn, c.says)
			body := make([]byte, 5)
			n, _ := io.ReadFull(r, body)
			if c.body != "" {
				io.WriteString(conn, ok)
			}
			got <- string(body[:n])
		})
		x := newExchange("PUT", strings.NewReader("hello"))
		x.Length = 5
		x.Fields = []Field{{"Expect", "100-continue"}}
		x.ContinueAfter = testTimeout / 2
		if name == "" {
			x.ContinueAfter = 10 * time.Millisecond
		}
		status, _, err := w.roundTrip(t, x)
		if want := map[bool]int{true: 200, false: 417}[c.body != ""]; status != want || err != nil {
			t.Errorf("%q: %d, %v", name, status, err)
		}
		if body := <-got; body != c.body {
			t.Errorf("%q: the worker got %q", name, body)
		}
	}
}

func TestABodyOfAnotherLengthIsAnError(t *testing.T) {
	t.Parallel()
	broken := errors.New("the client broke off")
	for name, body := range map[string]io.Reader{
		"short": strings.NewReader("hell"), "long": strings.NewReader("hello!"), "broken": io.MultiReader(strings.NewReader("he"), errReader{broken}),
	} {
		w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) { readHeader(r); io.Copy(io.Discard, r) })
		x := newExchange("POST", body)
		x.Length = 5
		_, _, err := w.roundTrip(t, x)
		if want := map[string]error{"short": errLength, "long": errLength, "broken": broken}[name]; err != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		x.Wait()
	}
}

type errReader struct{ error }

func (r errReader) Read([]byte) (int, error) { return 0, r.error }

func TestAResponseMayArriveBeforeTheBodyIsSent(t *testing.T) {
	t.Parallel()
	w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHeader(r)
		io.WriteString(c, ok)
		io.Copy(io.Discard, r)
	})
	slow, more := io.Pipe()
	x := newExchange("POST", slow)
	status, body, err := w.roundTripOnce(t, x)
	if status != 200 || body != "ok" || err != nil {
		t.Errorf("%d %q, %v", status, body, err)
	}
	more.CloseWithError(io.ErrUnexpectedEOF)
	x.Wait()
	if len(w.idle) != 0 {
		t.Error("the connection is kept")
	}
}

// roundTripOnce is roundTrip without waiting for the request's body.
func (w *fakeWorker) roundTripOnce(t *testing.T, x *Exchange) (int, string, error) {
	resp, err := w.RoundTrip(t.Context(), x)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestBlockedIsCalledBeforeAReadWaits(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{}, 1)
	w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHeader(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
		<-goOn
		io.WriteString(c, "ok")
	})
	x := newExchange("GET", nil)
	var got []byte
	said := ""
	x.Blocked = func() {
		if len(got) == 2 && said == "" {
			said = string(got)
			goOn <- struct{}{} // the rest follows only now
		}
	}
	resp, err := w.RoundTrip(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for b := make([]byte, 1); ; {
		n, err := resp.Body.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			break
		}
	}
	if said != "ok" || string(got) != "okok" {
		t.Errorf("heard after %q, got %q", said, got)
	}
}

func TestInterimResponsesAndTrailersArrive(t *testing.T) {
	t.Parallel()
	w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHeader(r)
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nTrailer: T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: end\r\n\r\n")
	})
	x := newExchange("GET", nil)
	var seen []int
	x.Interim = func(status int, h http.Header) { seen = append(seen, status) }
	resp, err := w.RoundTrip(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if !slices.Equal(seen, []int{103, 102}) || resp.Trailer.Get("T") != "end" {
		t.Errorf("%v, %v", seen, resp.Trailer)
	}
}

func TestAnotherProtocolBeginsWithWhatFollowsTheResponse(t *testing.T) {
	t.Parallel()
	w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHeader(r)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nearly")
		b, _ := io.ReadAll(r)
		c.Write(b)
	})
	resp, err := w.RoundTrip(t.Context(), newExchange("GET", nil))
	if err != nil {
		t.Fatal(err)
	}
	d := resp.Body.(*Duplex)
	defer d.Close()
	io.WriteString(d, "ping")
	d.CloseWrite()
	if got, err := io.ReadAll(d); string(got) != "earlyping" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestALargeHeaderIsSentWhole(t *testing.T) {
	t.Parallel()
	value := strings.Repeat("v", 8<<20) // more than a kernel accepts at once
	w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		if text, _ := readHeader(r); !strings.Contains(text, "\r\nBig: "+value+"\r\n") {
			t.Errorf("%d bytes came", len(text))
		}
		io.WriteString(c, ok)
		r.ReadByte()
	})
	x := newExchange("GET", nil)
	x.Fields = []Field{{"Big", value}}
	if status, _, err := w.roundTrip(t, x); status != 200 || err != nil {
		t.Errorf("%d, %v", status, err)
	}
	if len(w.idle) != 1 || w.idle[0].message != nil {
		t.Error("the header is kept")
	}
}

// A body that panics ends its exchange, not the server.
func TestAPanicOfABodyEndsItsExchange(t *testing.T) {
	t.Parallel()
	w := startWorker(t, func(_ int, c net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	_, _, err := w.roundTrip(t, newExchange("POST", panicking{}))
	if _, ok := errors.AsType[*recovered.Panic](err); !ok {
		t.Errorf("the exchange ends with %v", err)
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("boom") }
