package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tqserver/internal/socket"
)

// eventually waits until a condition is true.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	late := time.After(testTimeout)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !so() {
		select {
		case <-look.C:
		case <-late:
			t.Errorf("it never came to be that %s", what)
			return
		}
	}
}

// inTime fails the test unless one of several tries succeeds: a busy machine is
// late now and then, but a fault is there every time.
func inTime(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for range 10 {
		if err = try(); err == nil {
			return
		}
	}
	t.Error(err)
}

// readResponse reads a response with its body.
func readResponse(t *testing.T, r *bufio.Reader) (resp *http.Response, body string) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestAShutdownWaitsForRequestsUnderWay(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}), make(chan struct{})
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/waits" {
			began <- struct{}{}
			<-goOn
		}
	})
	quiet, quietR := d.dial()
	io.WriteString(quiet, victim)
	readResponse(t, quietR)
	d.awaitIdle(1)
	c, r := d.dial()
	io.WriteString(c, "GET /waits HTTP/1.1\r\nHost: h\r\n\r\n")
	<-began
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.server.Shutdown(impatient); err != context.Canceled {
		t.Errorf("an impatient shutdown: %v", err)
	}
	if _, err := quietR.ReadByte(); err != io.EOF {
		t.Errorf("a connection that waits for a request: %v", err)
	}
	if c, err := net.Dial("tcp", d.server.Addr().String()); err == nil {
		c.Close()
		t.Error("a connection was accepted")
	}
	ended := make(chan error)
	go func() { ended <- d.server.Shutdown(t.Context()) }()
	select {
	case err := <-ended:
		t.Errorf("the shutdown did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	if resp, _ := readResponse(t, r); !resp.Close {
		t.Error("the client may think that it can ask again")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// When a connection with unread input is closed, the kernel discards what the
// client has not read of the last response.
func TestUnreadInputDoesNotLoseTheResponse(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		first, then string // what the client sends
		shutdown    bool
	}{
		"another request at shutdown":               {victim, victim, true},
		"another request behind the last":           {"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", victim, false},
		"a body at shutdown":                        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n", "some", true},
		"another request in the buffer at shutdown": {victim + "GET /next HT", "TP/1.1\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			large := strings.Repeat("x", 100<<10) // the kernel accepts it at once, the client does not read it
			began := make(chan struct{})
			var d *testServer
			d = startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
				close(began)
				eventually(t, "something more comes", func() (comes bool) {
					ConnOf(r).raw.Control(func(fd uintptr) { comes = !socket.IsIdle(fd) })
					return comes
				})
				if test.shutdown {
					eventually(t, "the server shuts down", d.server.isClosing)
				}
				http.NewResponseController(w).EnableFullDuplex()
				w.Header().Set("Content-Length", strconv.Itoa(len(large)))
				io.WriteString(w, large)
			})
			small := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
				return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
			}}
			c, err := small.DialContext(t.Context(), "tcp", d.server.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(testTimeout))
			io.WriteString(c, test.first)
			<-began
			io.WriteString(c, test.then)
			if test.shutdown {
				ended := make(chan error, 1)
				go func() { ended <- d.server.Shutdown(t.Context()) }() // ends with d
				defer func() { <-ended }()
			}
			d.awaitNoConnections()
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(resp.Body); string(b) != large || err != nil {
				t.Errorf("%d bytes came, %v", len(b), err)
			}
		})
	}
}

func TestAShutdownDoesNotWaitForHijackedConnections(t *testing.T) {
	t.Parallel()
	began, goOn, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-goOn
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		defer c.Close()
		<-end
	})
	defer close(end)
	c, _ := d.dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
	<-began
	ended := make(chan error)
	go func() { ended <- d.server.Shutdown(t.Context()) }()
	select {
	case <-ended:
		t.Error("the shutdown did not wait for the request")
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testTimeout):
		t.Error("the shutdown waits for a connection that was taken over")
	}
}

// A handler's read of the body ends when the connection is hijacked.
func TestAHijackerReadsItsConnectionAlone(t *testing.T) {
	t.Parallel()
	read := make(chan error, 1)
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		go func() { // ends with the body
			_, err := io.Copy(io.Discard, r.Body)
			read <- err
		}()
		<-time.After(20 * time.Millisecond) // while it waits for more
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		defer c.Close()
		if err := <-read; err == nil {
			t.Error("the body had no error")
		}
		io.WriteString(c, "now")
		io.Copy(c, rw)
	})
	c, r := d.dial()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\nabc")
	if _, err := r.Discard(len("now")); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "defghi")
	c.(*net.TCPConn).CloseWrite()
	if all, err := io.ReadAll(r); err != nil || string(all) != "defghi" {
		t.Errorf("%q, %v", all, err)
	}
}

func TestACloseCutsAllRequests(t *testing.T) {
	t.Parallel()
	began, left := make(chan struct{}), make(chan struct{})
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		close(began)
		OnDisconnect(r, func() { close(left) })
		<-r.Context().Done()
	})
	c, r := d.dial()
	io.WriteString(c, victim)
	<-began
	d.server.Close()
	<-left
	if _, err := r.ReadByte(); err == nil {
		t.Error("the client was answered")
	}
}

func TestOnDisconnectIsNotCalledAfterItWasRemoved(t *testing.T) {
	t.Parallel()
	began, called, calling := make(chan struct{}), make(chan struct{}), make(chan struct{})
	over := make(chan bool, 1)
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		ended := false
		OnDisconnect(r, func() {
			close(called)
			<-calling
			ended = true
		})
		close(began)
		<-called
		time.AfterFunc(20*time.Millisecond, func() { close(calling) })
		OnDisconnect(r, nil)
		over <- ended
	})
	c, _ := d.dial()
	io.WriteString(c, victim)
	<-began
	c.Close()
	if !<-over {
		t.Error("the call was still under way")
	}
}

func TestAPanicWhileReadingEndsItsConnectionOnly(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := Listen(tcp, generous, func(err error, n int) { t.Error(err) })
	settings, told := srv.settings.Load(), make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() { // ends with srv
		srv.Serve(t.Context(), http.NotFoundHandler(), func(err error) {
			srv.settings.Store(settings)
			told <- err
		})
	})
	defer serving.Wait()
	defer srv.Close()
	d := &testServer{T: t, server: srv}
	c, r := d.dial()
	io.WriteString(c, victim)
	readResponse(t, r)
	srv.settings.Store(nil) // no header can be parsed without them
	io.WriteString(c, victim)
	if err := <-told; !strings.Contains(err.Error(), "nil pointer") || !strings.Contains(err.Error(), "request.go") {
		t.Errorf("told of %v", err)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the connection: %v", err)
	}
	c, r = d.dial()
	io.WriteString(c, victim)
	if resp, _ := readResponse(t, r); resp.StatusCode != http.StatusNotFound {
		t.Errorf("another is answered with %d", resp.StatusCode)
	}
}

func TestAPanicCutsItsResponseOnly(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := Listen(tcp, generous, func(err error, n int) { t.Error(err) })
	told := make(chan error, 9)
	var serving sync.WaitGroup
	serving.Go(func() { // ends with srv
		srv.Serve(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/abort":
				panic(http.ErrAbortHandler)
			case "/late":
				w.Header().Set("Content-Length", "9")
				io.WriteString(w, "part")
				http.NewResponseController(w).Flush()
				panic("late")
			case "/early":
				panic("early")
			}
		}), func(err error) { told <- err })
	})
	defer serving.Wait()
	defer srv.Close()
	for path, want := range map[string]string{"/abort": "", "/late": "part", "/early": "", "/victim": ""} {
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(testTimeout))
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		var body []byte
		if err == nil {
			body, err = io.ReadAll(resp.Body)
		}
		if string(body) != want || (err == nil) != (path == "/victim") {
			t.Errorf("%s: %q, %v", path, body, err)
		}
	}
	for range 2 {
		if err := <-told; !strings.Contains(err.Error(), "early") && !strings.Contains(err.Error(), "late") || !strings.Contains(err.Error(), "server_test.go") {
			t.Error(err)
		}
	}
	if len(told) > 0 {
		t.Error(<-told)
	}
}

func TestAnUnreadBodyDoesNotDelayTheResponse(t *testing.T) {
	t.Parallel()
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/flush" {
			http.NewResponseController(w).Flush()
		}
		io.WriteString(w, "no")
	})
	for name, test := range map[string]struct {
		send  string
		again bool
	}{
		"small":                {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", true},
		"small, chunks":        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n", true},
		"small, after all":     {"POST /flush HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", true},
		"missing":              {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na", false},
		"missing, after all":   {"POST /flush HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na", false},
		"large":                {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n" + strings.Repeat("x", 8000000), false},
		"large, chunks":        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n7a1200\r\n" + strings.Repeat("x", 8000000) + "\r\n0\r\n\r\n", false},
		"large, after all":     {"POST /flush HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n" + strings.Repeat("x", 8000000), false},
		"not asked for":        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", false},
		"bad":                  {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n", false},
		"closed by the client": {"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", false},
	} {
		c, r := d.dial()
		began := time.Now()
		sent := make(chan struct{})
		go func() { io.WriteString(c, test.send); close(sent) }() // ends with c
		resp, body := readResponse(t, r)
		if took := time.Since(began); resp.StatusCode != 200 || body != "no" || took > testTimeout/2 {
			t.Errorf("%s: %d %q after %v", name, resp.StatusCode, body, took)
		}
		if !test.again {
			if _, err := r.ReadByte(); err == nil {
				t.Errorf("%s: the connection stays open", name)
			}
			c.Close()
			<-sent
			continue
		}
		io.WriteString(c, victim)
		if resp, _ := readResponse(t, r); resp.Close {
			t.Errorf("%s: the connection is closed", name)
		}
	}
}

func TestWhatAHandlerLeftBehindReachesNoOtherRequest(t *testing.T) {
	t.Parallel()
	var w1 atomic.Pointer[http.ResponseWriter]
	var r1 atomic.Pointer[http.Request]
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			w1.Store(&w)
			r1.Store(r)
			rc := http.NewResponseController(w)
			rc.SetReadDeadline(aLongTimeAgo)
			rc.SetWriteDeadline(time.Now().Add(20 * checkInterval))
			return
		}
		late := *w1.Load()
		if n, err := io.WriteString(late, "late"); n > 0 || err == nil {
			t.Errorf("a late write: %d, %v", n, err)
		}
		if n, err := late.(io.ReaderFrom).ReadFrom(strings.NewReader("late")); n > 0 || err == nil {
			t.Errorf("a late copy: %d, %v", n, err)
		}
		late.WriteHeader(500)
		if err := http.NewResponseController(late).Flush(); err == nil {
			t.Error("a late flush works")
		}
		if _, _, err := http.NewResponseController(late).Hijack(); err == nil {
			t.Error("the connection can be taken over late")
		}
		if n, err := r1.Load().Body.Read(make([]byte, 9)); n > 0 || err != http.ErrBodyReadAfterClose {
			t.Errorf("a late read: %d, %v", n, err)
		}
		<-time.After(22 * checkInterval)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Write(body)
	})
	c, r := d.dial()
	io.WriteString(c, "POST /first HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
	readResponse(t, r)
	io.WriteString(c, "POST /second HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz")
	if _, body := readResponse(t, r); body != "xyz" {
		t.Errorf("%q", body)
	}
}

func TestAClientThatReadsNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	wrote := make(chan struct{})
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.SetWriteDeadline(time.Now().Add(soon))
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
				rc.SetWriteDeadline(time.Time{})
				if n, again := io.WriteString(w, "more"); n > 0 || again != err {
					t.Errorf("after %v: %d, %v", err, n, again)
				}
				close(wrote)
				return
			}
		}
	})
	c, _ := d.dial()
	io.WriteString(c, victim)
	<-wrote
	d.awaitNoConnections()
}

// No handler watches the end of a response.
func TestAClientThatDoesNotReadTheEndIsGivenUp(t *testing.T) {
	t.Parallel()
	gaveUp := make(chan error)
	d := startServer(t, generous, func(_ http.ResponseWriter, r *http.Request) {
		gaveUp <- ConnOf(r).writeEnd(make([]byte, 64<<20))
		panic(http.ErrAbortHandler)
	})
	d.server.endWriteTimeout = soon
	c, _ := d.dial()
	io.WriteString(c, victim)
	if err := <-gaveUp; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	d.awaitNoConnections()
}

func TestAClientThatReadsTheEndSlowlyIsNotGivenUp(t *testing.T) {
	t.Parallel()
	conns, took := make(chan *Conn, 1), make(chan error, 1)
	d := startServer(t, generous, func(_ http.ResponseWriter, r *http.Request) {
		conns <- ConnOf(r)
		took <- ConnOf(r).writeEnd(make([]byte, 8<<20))
		panic(http.ErrAbortHandler)
	})
	c, r := d.dial()
	io.WriteString(c, victim)
	conn := <-conns
	full, more, ok := conn.Acked()
	if !ok {
		t.Skip("this kernel does not say what is taken")
	}
	for before := uint64(0); full == 0 || !more || full != before; { // until nothing moves any more
		<-time.After(20 * time.Millisecond)
		before = full
		full, more, _ = conn.Acked()
	}
	for now := full; now == full; now, _, _ = conn.Acked() {
		if _, err := io.CopyN(io.Discard, r, 1<<10); err != nil {
			t.Fatal(err)
		}
	}
	conn.tcp.SetWriteDeadline(aLongTimeAgo)
	io.Copy(io.Discard, r)
	if err := <-took; err != nil {
		t.Error(err)
	}
}

// awaitNoConnections waits until there are no connections.
func (d *testServer) awaitNoConnections() {
	for {
		changed := d.server.capacityFreed()
		if d.server.Connections() == 0 {
			return
		}
		<-changed
	}
}

// The goroutine that reads the body writes 100 Continue while the handler writes
// too.
func TestContinueDoesNotMixWithInterimResponses(t *testing.T) {
	t.Parallel()
	d := startServer(t, generous, func(w http.ResponseWriter, r *http.Request) {
		var reading sync.WaitGroup
		reading.Go(func() { io.ReadAll(r.Body) })
		for range 10 {
			w.WriteHeader(http.StatusEarlyHints)
		}
		reading.Wait()
		w.WriteHeader(http.StatusNoContent)
	})
	c, r := d.dial()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
	counts := make(map[int]int)
	for counts[204] == 0 {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if counts[resp.StatusCode]++; resp.StatusCode == http.StatusContinue {
			io.WriteString(c, "abc")
		}
	}
	if counts[100] != 1 || counts[103] != 10 {
		t.Error(counts)
	}
}
