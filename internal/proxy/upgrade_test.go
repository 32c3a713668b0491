package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

func TestWhatIsSentTogetherWithAnUpgradeIsNotLost(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	early := strings.Repeat("early", 500) // of which net/http has some in its buffer
	b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching("foo")+early)
		got, _ := io.ReadAll(r) // to the end of what the client sends
		c.Write(got)
	})
	f.route.Serve(b)
	c, r := dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"+early)
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("%q", head)
	}
	io.WriteString(c, "late")
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(r); err != nil || string(got) != early+early+"late" {
		t.Errorf("%d bytes, %v: %.20q…", len(got), err, got)
	}
	drained(t, b)
}

// TestAWorkerPicksOneOfTheProtocols is RFC 9110 section 7.8. Of the worker's answer
// only what says which reaches the client: a length or a connection that is kept
// there is not.
func TestAWorkerPicksOneOfTheProtocols(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	const extra = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nTrailer: X\r\nX-Kept: 1\r\n"
	for name, test := range map[string]struct{ asked, switches, want string }{
		"the only one":          {"Upgrade: foo\r\n", "Upgrade: foo\r\n", "foo"},
		"in another case":       {"Upgrade: WebSocket\r\n", "Upgrade: websocket\r\n", "websocket"},
		"the second":            {"Upgrade: foo, websocket\r\n", "Upgrade: websocket\r\n", "websocket"},
		"behind a tab":          {"Upgrade: websocket,\tfoo\r\n", "Upgrade: foo\r\n", "foo"},
		"of a second line":      {"Upgrade: websocket\r\nUpgrade: foo/1.2\r\n", "Upgrade: foo/1.2\r\n", "foo/1.2"},
		"among empty ones":      {"Upgrade: ,, foo ,\r\n", "Upgrade: foo\r\n", "foo"},
		"two of three":          {"Upgrade: foo, bar, websocket\r\n", "Upgrade: foo, websocket\r\n", "foo, websocket"},
		"another":               {"Upgrade: foo, websocket\r\n", "Upgrade: bar\r\n", ""},
		"one and another":       {"Upgrade: foo\r\n", "Upgrade: foo, bar\r\n", ""},
		"none":                  {"Upgrade: foo\r\n", "", ""},
		"nobody asked":          {"", "Upgrade: foo\r\n", ""},
		"with a name like it":   {"Upgrade: foo\r\n", "Upgrade: fo\r\n", ""},
		"a CR after its status": {"Upgrade: foo\r\n", "Upgrade: foo\r\n\x00", "foo"},
	} {
		f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readHead(r)
			switches, odd := strings.CutSuffix(test.switches, "\x00")
			reason := "Odd"
			if odd {
				reason = "Odd\rX-Injected: 1"
			}
			io.WriteString(c, "HTTP/1.1 101 "+reason+"\r\nConnection: Upgrade, X-Hop\r\n"+switches+extra+"\r\n")
		}))
		_, r := dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"+test.asked+"\r\n")
		head := readHead(r)
		if test.want == "" {
			if !strings.HasPrefix(head, "HTTP/1.1 502 ") {
				t.Errorf("%s: %q", name, head)
			}
			continue
		}
		lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
		lines = slices.DeleteFunc(lines, func(l string) bool {
			return strings.HasPrefix(l, "X-Request-Id: ") || strings.HasPrefix(l, "Traceparent: ")
		})
		slices.Sort(lines)
		want := []string{"Connection: Upgrade", "HTTP/1.1 101 Switching Protocols", "Upgrade: " + test.want, "X-Kept: 1"}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// An upgrade may always be ignored, and one that cannot be read is.
func TestAnUpgradeThatNamesNoProtocolIsLeftOut(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for _, asked := range []string{"", ",", "foo bar", "foo, \xe4", "foo/", "/1", "foo/1/2", "foo;q=1", "\"foo\""} {
		_, got := seenBy(t, f, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "+asked+"\r\n\r\n")
		if got["Upgrade"] != nil || got["Connection"] != nil {
			t.Errorf("%q: the worker sees %v", asked, got)
		}
	}
	_, got := seenBy(t, f, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: foo,\tbar\r\nUpgrade: baz/1.0\r\n\r\n")
	if got.Get("Upgrade") != "foo, bar, baz/1.0" || got.Get("Connection") != "Upgrade" {
		t.Errorf("the worker sees %v", got)
	}
}

// TestTheWorkersHalfCloseIsKept has the client talk on after it.
func TestTheWorkersHalfCloseIsKept(t *testing.T) {
	t.Parallel()
	for _, early := range []string{"", "early"} {
		f, heard := newFront(t, generous), make(chan string, 1)
		b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readHead(r)
			io.WriteString(c, switching("foo")+"bye")
			c.(*net.TCPConn).CloseWrite()
			got, _ := io.ReadAll(r)
			heard <- string(got)
		})
		f.route.Serve(b)
		c, r := dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"+early)
		readHead(r)
		if got, err := io.ReadAll(r); err != nil || string(got) != "bye" {
			t.Errorf("%q, %v", got, err)
		}
		io.WriteString(c, "and more")
		c.(*net.TCPConn).CloseWrite()
		if got := within(t, testTimeout, "the worker heard the end", heard); got != early+"and more" {
			t.Errorf("the worker heard %q", got)
		}
		drained(t, b)
	}
}

func TestADeathIsSeenAtTheOtherEnd(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	die, dead := make(chan struct{}), make(chan struct{}, 1)
	b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching("foo"))
		over := make(chan struct{})
		go func() { // ends with the connection, or sooner
			io.Copy(io.Discard, r)
			close(over)
		}()
		select {
		case <-die:
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			<-over
		case <-over:
			dead <- struct{}{}
		}
	})
	f.route.Serve(b)
	quickly(t, "the client sees that the worker died", 100*time.Millisecond, func() time.Duration {
		_, r := upgrade(t, f, "foo")
		began := time.Now()
		die <- struct{}{}
		io.ReadAll(r)
		return time.Since(began)
	})
	quickly(t, "the worker sees that the client died", 100*time.Millisecond, func() time.Duration {
		c, _ := upgrade(t, f, "foo")
		c.(*net.TCPConn).SetLinger(0)
		began := time.Now()
		c.Close()
		within(t, testTimeout, "the worker sees it", dead)
		return time.Since(began)
	})
	drained(t, b)
}

func TestARefusedUpgradeIsAnOrdinaryResponse(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for _, status := range []int{200, 401, 426} {
		f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/asked" {
				w.WriteHeader(status)
			}
			io.WriteString(w, "answer")
		}))
		_, r := dial(t, f.addr(), "GET /asked HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
		for _, want := range []int{status, 200} { // the connection goes on
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != want || string(body) != "answer" {
				t.Errorf("%d %q, %v; want %d", resp.StatusCode, body, err, want)
			}
		}
	}
}

// TestWebSocketsPassByteForByte has a worker that keeps what it hears and says:
// that and what the client says and hears are to be the same.
func TestWebSocketsPassByteForByte(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]websocket.CompressionMode{"plain": websocket.CompressionDisabled, "deflate": websocket.CompressionContextTakeover} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, generous)
			atWorker, worker := make(chan *tape, 1), make(chan error, 1)
			f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
				keep := &taping{ResponseWriter: w}
				c, err := websocket.Accept(keep, r, &websocket.AcceptOptions{CompressionMode: mode, Subprotocols: []string{"b"}})
				if err != nil {
					worker <- err
					return
				}
				c.SetReadLimit(-1)
				ctx := context.WithoutCancel(r.Context())
				for err == nil {
					var kind websocket.MessageType
					var message []byte
					if kind, message, err = c.Read(ctx); err == nil {
						err = c.Write(ctx, kind, message)
					}
				}
				atWorker <- keep.tape
				worker <- err
			}))
			ctx, cancel := context.WithTimeout(t.Context(), 3*testTimeout)
			defer cancel()
			atClient := new(tape)
			dialed := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				atClient.Conn = c
				return atClient, err
			}}
			c, resp, err := websocket.Dial(ctx, f.URL, &websocket.DialOptions{CompressionMode: mode, Subprotocols: []string{"a", "b"}, HTTPClient: &http.Client{Transport: dialed}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			c.SetReadLimit(-1)
			if c.Subprotocol() != "b" || (mode != websocket.CompressionDisabled) != (resp.Header.Get("Sec-WebSocket-Extensions") != "") {
				t.Errorf("subprotocol %q, %v", c.Subprotocol(), resp.Header)
			}
			for n, size := range append([]int{16 << 20, 0, 125, 126, 65536}, make([]int, 3000)...) {
				message := bytes.Repeat([]byte{byte(n), byte(n >> 8), 'x', 'y'}, max(size, n%200)/4)
				go c.Write(ctx, websocket.MessageBinary, message) // ends with ctx
				if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, message) {
					t.Fatalf("a message of %d bytes came back as %d, %v", len(message), len(got), err)
				}
			}
			if err := c.Close(4321, "bye"); err != nil {
				t.Error(err)
			}
			heard := within(t, testTimeout, "the worker exited", atWorker)
			if err := <-worker; websocket.CloseStatus(err) != 4321 {
				t.Errorf("the worker saw %v", err)
			}
			said := afterHead(atClient.written.Bytes())
			if !bytes.Equal(said, heard.read.Bytes()) {
				t.Errorf("the client said %d bytes, the worker heard %d, or others", len(said), heard.read.Len())
			}
			got := afterHead(atClient.read.Bytes())
			if want := afterHead(heard.written.Bytes()); !bytes.Equal(got, want) {
				t.Errorf("the worker said %d bytes, the client heard %d, or others", len(want), len(got))
			}
		})
	}
}

func afterHead(b []byte) []byte {
	_, after, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	return after
}

// tape is a connection that keeps what goes over it.
type tape struct {
	net.Conn
	mu            sync.Mutex // guards all below
	read, written bytes.Buffer
}

func (c *tape) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read.Write(p[:n])
	return n, err
}

// Write keeps what it is about to send: the response can come, and be acted on by
// another goroutine, before Write has returned.
func (c *tape) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.written.Write(p)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// taping is for a worker that hijacks its connection.
type taping struct {
	http.ResponseWriter
	tape *tape
}

func (w *taping) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.tape = &tape{Conn: c}
	if err == nil {
		// What the server wrote before is the head.
		rw.Writer.Flush()
		early, _ := rw.Reader.Peek(rw.Reader.Buffered())
		w.tape.read.Write(early)
		w.tape.written.WriteString("\r\n\r\n")
		rw = bufio.NewReadWriter(bufio.NewReader(io.MultiReader(bytes.NewReader(bytes.Clone(early)), w.tape)), bufio.NewWriter(w.tape))
	}
	return w.tape, rw, err
}

// TestFramesOfAnyKindPass sends what RFC 6455 allows and what it does not: the
// peers are to judge that.
func TestFramesOfAnyKindPass(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(6455, 1))
	frames := func(masked byte) (all []byte) {
		for _, head := range []byte{0x01, 0x00, 0x89, 0x00, 0x80, 0x8a, 0x82, 0xc1, 0x83, 0x8b, 0xf2, 0x02, 0x89, 0x80} { // fragments with pings between, pongs, reserved kinds and bits
			for _, size := range []int{0, 1, 125, 126, 65535, 65536} {
				all = append(all, head)
				switch {
				case size < 126:
					all = append(all, masked|byte(size))
				case size < 65536:
					all = binary.BigEndian.AppendUint16(append(all, masked|126), uint16(size))
				default:
					all = binary.BigEndian.AppendUint64(append(all, masked|127), uint64(size))
				}
				if masked != 0 {
					all = append(all, "mask"...)
				}
				for range size {
					all = append(all, byte(random.Uint32()))
				}
			}
		}
		return append(all, 0x88, masked) // a close frame that says nothing
	}
	up, down := frames(0x80), frames(0)
	pieces := func(c net.Conn, b []byte) {
		for len(b) > 0 {
			n := min(len(b), 1+random.IntN(5000))
			c.Write(b[:n])
			b = b[n:]
		}
		c.(*net.TCPConn).CloseWrite()
	}
	f, heard := newFront(t, generous), make(chan []byte, 1)
	f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching("websocket"))
		got, _ := io.ReadAll(r)
		heard <- got
		pieces(c, down)
	}))
	c, r := dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	readHead(r)
	pieces(c, up)
	if got := within(t, testTimeout, "the worker heard all", heard); !bytes.Equal(got, up) {
		t.Errorf("the worker heard %d bytes of %d, or others", len(got), len(up))
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, down) {
		t.Errorf("the client heard %d bytes of %d, or others: %v", len(got), len(down), err)
	}
}

// A panic while another protocol passes ends its connection and not the server.
func TestAPanicBehindAnUpgradeIsThatOfItsRequest(t *testing.T) {
	t.Parallel()
	told := make(chan error, 1)
	f := newFrontReporting(t, generous, func(err error) { told <- err })
	f.setPolicies(t, "", func(w http.ResponseWriter, _ *http.Request, _ string) (http.ResponseWriter, func(bool)) {
		return panicsBehindUpgrade{w}, func(bool) {}
	})
	b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching("x")+"hello")
		io.Copy(io.Discard, r)
	})
	f.route.Serve(b)
	dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\nSec-Fetch-Mode: navigate\r\n\r\n")
	if err := within(t, testTimeout, "the panic is told", told); !strings.Contains(err.Error(), "boom") || !strings.Contains(err.Error(), "upgrade_test.go") {
		t.Errorf("told of %v", err)
	}
	drained(t, b)
}

type panicsBehindUpgrade struct{ http.ResponseWriter }

func (w panicsBehindUpgrade) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w panicsBehindUpgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	return panickingConn{c}, rw, err
}

type panickingConn struct{ net.Conn }

func (panickingConn) Write([]byte) (int, error) { panic("boom") }
