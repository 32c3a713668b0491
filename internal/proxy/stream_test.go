package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAResponseCutShortIsCutShortForTheClient(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for name, head := range map[string]string{
		"length":  "Content-Length: 100\r\n\r\npart",
		"chunks":  "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
		"a chunk": "Transfer-Encoding: chunked\r\n\r\nff\r\npart",
		"stream":  "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
	} {
		f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readHead(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head)
		}))
		resp, err := f.Client().Get(f.URL)
		if err != nil {
			continue // cut before anything was flushed
		}
		if body, err := io.ReadAll(resp.Body); err != io.ErrUnexpectedEOF {
			t.Errorf("%s: %q, %v: it ends as if it were whole", name, body, err)
		}
		resp.Body.Close()
	}
}

func TestAClientThatLeavesCancelsTheWorkersRequest(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	began, cancelled := make(chan struct{}), make(chan struct{})
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/answered" {
			fmt.Fprint(w, "part")
			http.NewResponseController(w).Flush()
		}
		if r.URL.Path == "/read" {
			io.ReadFull(r.Body, make([]byte, 4))
		}
		if r.ContentLength > 4 {
			// What net/http does not look for in a worker with an unread body.
			conn, _, _ := http.NewResponseController(w).Hijack()
			defer conn.Close()
			close := began
			close <- struct{}{}
			io.Copy(io.Discard, conn)
			cancelled <- struct{}{}
			return
		}
		began <- struct{}{}
		<-r.Context().Done()
		cancelled <- struct{}{}
	}))
	for _, request := range []string{
		"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /answered HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
		"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf",
	} {
		quickly(t, fmt.Sprintf("%q is cancelled", request), 100*time.Millisecond, func() time.Duration {
			c, _ := dial(t, f.addr(), request)
			within(t, testTimeout, "the worker was asked", began)
			left := time.Now()
			c.Close()
			within(t, testTimeout, "the request was cancelled", cancelled)
			return time.Since(left)
		})
	}
}

// TestAClientThatLeavesABodyUnreadCancelsToo has a worker that reads nothing
// of a body that is larger than what the kernels take, so that nobody reads
// from the client either. It resets the connection: an orderly end would stand
// behind bytes for which there is no room, where nobody can see it.
func TestAClientThatLeavesABodyUnreadCancelsToo(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	asked, cut := make(chan struct{}), make(chan struct{})
	b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		asked <- struct{}{}
		<-cut
	})
	f.route.Serve(b)
	quickly(t, "it is given up", 200*time.Millisecond, func() time.Duration {
		c, _ := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
		within(t, testTimeout, "the worker was asked", asked)
		c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		for chunk, err := make([]byte, 1<<20), error(nil); err == nil; {
			_, err = c.Write(chunk)
		}
		left := time.Now()
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
		eventually(t, "it is given up", func() bool { return b.InFlight() == 0 })
		took := time.Since(left)
		cut <- struct{}{}
		return took
	})
}

func TestEventsAreNotBufferedAndEndCleanly(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	next := make(chan string)
	b := newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		rc := http.NewResponseController(w)
		rc.Flush()
		for {
			select {
			case event := <-next:
				fmt.Fprint(w, event)
				rc.Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	f.route.Serve(b)
	resp, err := f.Client().Get(f.URL)
	if err != nil {
		t.Fatal(err) // the header came before any event
	}
	defer resp.Body.Close()
	for n := range 3 {
		event := fmt.Sprintf("data: %d\n\n", n)
		next <- event
		got := make([]byte, len(event))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != event {
			t.Fatalf("%q, %v", got, err)
		}
	}
	b.Close()
	b.EndStreams(ServiceRestart)
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("the end: %q, %v", rest, err)
	}
	drained(t, b)
}

func TestStreamsThatBeginAfterTheEndOfStreamsEndToo(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	b := newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	f.route.Serve(b)
	b.EndStreams(GoingAway)
	if resp, body := do(t, f.Client(), "GET", f.URL, ""); resp.StatusCode != 200 || body != "" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	drained(t, b)
}

func TestEndStreamsLetsOrdinaryRequestsFinish(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	asked, goOn := make(chan struct{}), make(chan struct{})
	b := newWorker(t, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-goOn
		fmt.Fprint(w, "whole")
	})
	f.route.Serve(b)
	c := send(f, "GET", "/", "")
	<-asked
	b.Close()
	b.EndStreams(ServiceRestart)
	close(goOn)
	if a := <-c; a.body != "whole" {
		t.Errorf("%+v", a)
	}
	drained(t, b)
}

// upgrade asks for another protocol and returns the connection.
func upgrade(t *testing.T, f *front, protocol string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, r := dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n\r\n")
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 101 ") || strings.Count(head, "X-Request-Id") != 1 {
		t.Fatalf("%q", head)
	}
	return c, r
}

func switching(protocol string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"
}

func TestOtherUpgradesPassAndHalfCloseToo(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching("echo"))
		got, _ := io.ReadAll(r) // to the end of what the client sends
		c.Write(got)
	})
	f.route.Serve(b)
	c, r := upgrade(t, f, "echo")
	io.WriteString(c, "ping")
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(r); err != nil || string(got) != "ping" {
		t.Errorf("%q, %v", got, err)
	}
	drained(t, b)
}

func TestOtherUpgradesAreEndedByEndStreams(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching("echo"))
		io.Copy(c, r)
	})
	f.route.Serve(b)
	c, r := upgrade(t, f, "echo")
	io.WriteString(c, "ping")
	if _, err := io.ReadFull(r, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	b.EndStreams(GoingAway)
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("%q", rest)
	}
	drained(t, b)
}

// Two would read the client's connection else.
func TestAnotherProtocolBeginsBehindTheWholeRequest(t *testing.T) {
	t.Parallel()
	f := hastyFront(t)
	b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching("echo"))
		io.Copy(c, r)
	})
	f.route.Serve(b)
	ask := "POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\nContent-Length: 4\r\n\r\n"
	c, r := dial(t, f.addr(), ask+"bo")
	<-time.After(hasty / 10)
	io.WriteString(c, "dy")
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("%q", head)
	}
	io.WriteString(c, "ping")
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(r); err != nil || string(got) != "bodyping" {
		t.Errorf("%q, %v", got, err)
	}
	resp, _ := exchangeRaw(t, f.addr(), ask+"bo") // and then nothing
	mustStatus(t, resp, http.StatusRequestTimeout)
	drained(t, b)
}

func TestAnUpgradeThatNobodyAskedForIsRefusedAndLeavesNoConnection(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	closed := make(chan struct{})
	b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching("other"))
		io.Copy(io.Discard, r)
		close(closed)
	})
	f.route.Serve(b)
	resp, _ := exchangeRaw(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	mustStatus(t, resp, 502)
	within(t, testTimeout, "the worker's connection was closed", closed)
	drained(t, b)
}
