package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tqserver/internal/config"
	"tqserver/internal/policy"
	"tqserver/internal/wire"
)

func TestMain(m *testing.M) {
	if runs := os.Getenv(runsVar); runs != "" {
		work(runs)
		return
	}
	log.SetOutput(io.Discard) // net/http warns of workers that say too much
	goleak.VerifyTestMain(m)
}

// testTimeout is what a test waits for what must come.
const testTimeout = 30 * time.Second

var generous = Settings{ReadTimeout: 2 * testTimeout, WriteTimeout: 2 * testTimeout, HoldTimeout: 2 * testTimeout, MaxHeld: 1000}

// front is a proxy with one route behind a real server.
type front struct {
	*wire.Server
	URL    string
	proxy  *Proxy
	route  *Route
	client *http.Client
}

func newFront(t testing.TB, s Settings) *front {
	t.Helper()
	return newFrontReporting(t, s, func(err error) { t.Error(err) })
}

// newFrontReporting returns a front that tells of panics.
func newFrontReporting(t testing.TB, s Settings, panicked func(error)) *front {
	t.Helper()
	f := &front{proxy: New(s), route: &Route{Name: "/"}, client: &http.Client{Transport: new(http.Transport), Timeout: testTimeout}}
	f.proxy.SetRoutes(map[string]*Route{"/": f.route, "/nobody": nil})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.URL = "http://" + tcp.Addr().String()
	f.Server = wire.Listen(tcp, wire.Settings{HeaderTimeout: 2 * testTimeout, MaxHeader: 64 << 10}, func(err error, _ int) { t.Log(err) })
	var serving sync.WaitGroup
	serving.Go(func() { f.Serve(t.Context(), f.proxy, panicked) }) // ends with f
	t.Cleanup(func() {
		f.client.CloseIdleConnections()
		f.Close()
		serving.Wait()
	})
	return f
}

// limitBodies limits the bodies of requests below a path.
func (f *front) limitBodies(t testing.TB, path string, limit int) {
	t.Helper()
	f.setPolicies(t, fmt.Sprintf("paths: {%s: {max_body_bytes: %d}}", path, limit), nil)
}

// setPolicies sets the policies of a configuration.
func (f *front) setPolicies(t testing.TB, configuration string, dress policy.Dress) {
	t.Helper()
	cfg, err := config.Parse("server.yaml", []byte(configuration))
	if err != nil {
		t.Fatal(err)
	}
	f.proxy.SetPolicies(policy.Compile(cfg, nil, dress))
}

// Client is one whose connections are closed with the front.
func (f *front) Client() *http.Client { return f.client }

// addr is where a client dials.
func (f *front) addr() string { return f.Addr().String() }

// newWorker serves a handler and is a backend.
func newWorker(t *testing.T, handler http.HandlerFunc) *Backend {
	t.Helper()
	srv := httptest.NewServer(handler)
	b := NewBackend(srv.Listener.Addr().String(), BackendOptions{})
	t.Cleanup(func() {
		b.Close()
		srv.CloseClientConnections()
		srv.Close()
	})
	return b
}

// newRawWorker answers each connection by a function, which is told how many
// came before.
func newRawWorker(t testing.TB, serve func(n int, c net.Conn, r *bufio.Reader)) *Backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends with the listener
		defer close(ended)
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(testTimeout))
			serve(n, c, bufio.NewReader(c))
			c.Close()
		}
	}()
	b := NewBackend(l.Addr().String(), BackendOptions{})
	t.Cleanup(func() { b.Close(); l.Close(); <-ended })
	return b
}

// deadAddr is an address at which nobody listens, nor will before the test ends.
func deadAddr(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
}

// readHead reads a message's first line and header, as they came.
func readHead(r *bufio.Reader) string {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String()
		}
	}
}

// dial opens a connection and sends bytes on it.
func dial(t testing.TB, addr, send string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testTimeout))
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// exchangeRaw sends bytes and reads one answer, with its body.
func exchangeRaw(t *testing.T, addr, send string) (*http.Response, string) {
	t.Helper()
	_, r := dial(t, addr, send)
	method, _, _ := strings.Cut(send, " ")
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read the response to %q: %v", send, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the body of the response to %q: %v", send, err)
	}
	resp.Body.Close()
	return resp, string(body)
}

// do sends a request and reads its answer.
func do(t *testing.T, c *http.Client, method, url, body string) (*http.Response, string) {
	t.Helper()
	resp, text, err := try(c, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, text
}

func try(c *http.Client, method, url, body string) (*http.Response, string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	late := time.After(testTimeout)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !so() {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("it never came to be that %s", what)
		}
	}
}

// within fails the test when a channel is not closed, or sent on, in time.
func within[T any](t *testing.T, d time.Duration, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(d):
		t.Fatalf("within %v it did not happen that %s", d, what)
	}
	return v
}

// inTime fails the test unless one of several tries succeeds: a busy machine is late
// now and then, a fault is there each time.
func inTime(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for range 5 {
		if err = try(); err == nil {
			return
		}
	}
	t.Error(err)
}

// quickly fails the test unless one of several tries takes no longer than a limit.
func quickly(t *testing.T, what string, limit time.Duration, try func() time.Duration) {
	t.Helper()
	inTime(t, func() error {
		if took := try(); took > limit {
			return fmt.Errorf("%s: after %v, want %v", what, took, limit)
		}
		return nil
	})
}

// atTimeout fails the test when a try takes less than a timeout, or all take twice
// as long.
func atTimeout(t *testing.T, timeout time.Duration, try func() time.Duration) {
	t.Helper()
	quickly(t, "at the timeout", 2*timeout, func() time.Duration {
		took := try()
		if took < timeout {
			t.Errorf("after %v, want %v", took, timeout)
		}
		return took
	})
}

func mustStatus(t *testing.T, resp *http.Response, want int) {
	t.Helper()
	if resp.StatusCode != want {
		t.Fatalf("status %d, want %d", resp.StatusCode, want)
	}
}

func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

func drained(t *testing.T, b *Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	if err := b.Drain(ctx); err != nil {
		t.Errorf("drain: %v, with %d requests under way", err, b.InFlight())
	}
}
