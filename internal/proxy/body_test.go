package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const expecting = "Expect: 100-continue\r\n"

// TestABodyAboveTheLimitIsA413 has a worker that would tell if it saw a clean
// end of such a body.
func TestABodyAboveTheLimitIsA413(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.limitBodies(t, "/four", 4)
	var ran, whole atomic.Int64
	b := newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		ran.Add(1)
		if body, err := io.ReadAll(r.Body); err == nil {
			whole.Add(1)
			w.Write(body)
		}
	})
	f.route.Serve(b)
	for _, tt := range []struct {
		request string
		status  int
		runs    int64
	}{
		{"POST /four HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", 200, 1},
		{"POST /four HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 200, 1},
		{"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nbody!", 200, 1},
		{"GET /four HTTP/1.1\r\nHost: x\r\n\r\n", 200, 1},
		{"POST /four HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nbody!", 413, 0},
		{"POST /four HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\n", 413, 0},
		{"POST /four HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n" + expecting + "\r\n", 413, 0},
		{"POST /four HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbody!\r\n0\r\n\r\n", 413, -1},
		{"POST /four HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n1\r\n!", 413, -1},
	} {
		ran.Store(0)
		whole.Store(0)
		_, r := dial(t, f.addr(), tt.request)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%q: %v", tt.request, err)
		}
		io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != tt.status || tt.runs >= 0 && ran.Load() != tt.runs {
			t.Errorf("%q: %d, run %d times; want %d, %d times", tt.request, resp.StatusCode, ran.Load(), tt.status, tt.runs)
		}
		if tt.status != 413 {
			continue
		}
		if rest, _ := io.ReadAll(r); !resp.Close || len(rest) > 0 {
			t.Errorf("%q: the connection is not closed, %q follows", tt.request, rest)
		}
		eventually(t, "the worker has done", func() bool { return b.InFlight() == 0 })
		if whole.Load() > 0 {
			t.Errorf("%q: the worker saw the end of a body", tt.request)
		}
	}
}

func TestABodyAboveTheLimitIsRefusedThoughNobodyServes(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.limitBodies(t, "/", 4)
	resp, _ := exchangeRaw(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
	mustStatus(t, resp, http.StatusRequestEntityTooLarge)
	resp, _ = exchangeRaw(t, f.addr(), "POST /nobody HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
	mustStatus(t, resp, http.StatusNotFound)
}

func TestABodyThatGrowsAboveTheLimitCutsAResponseThatBegan(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.limitBodies(t, "/", 4)
	got := make(chan error, 1)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		_, err := io.Copy(io.Discard, r.Body)
		got <- err
	}))
	c, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "1\r\n!\r\n0\r\n\r\n")
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q: it ends as if it were whole", body)
	}
	if err := within(t, testTimeout, "the worker's body ended", got); err == nil {
		t.Error("the worker saw the end of the body")
	}
}

func TestABodyThatComesTooSlowlyIsA408(t *testing.T) {
	t.Parallel()
	s := generous
	s.MinBodyRate, s.bodyGrace = 10_000, hasty
	f := newFront(t, s)
	cut := make(chan error, 1)
	b := newWorker(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		cut <- err
	})
	f.route.Serve(b)
	for name, every := range map[string]time.Duration{"trickle": hasty / 20, "halt": time.Hour} {
		atTimeout(t, hasty, func() time.Duration {
			began := time.Now()
			c, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
			done := make(chan struct{})
			go func() { // ends with done
				tick := time.NewTicker(every)
				defer tick.Stop()
				for {
					select {
					case <-tick.C:
						io.WriteString(c, "x")
					case <-done:
						return
					}
				}
			}()
			resp, err := http.ReadResponse(r, nil)
			close(done)
			if err != nil {
				t.Fatal(name, err)
			}
			io.Copy(io.Discard, resp.Body)
			took := time.Since(began)
			if resp.StatusCode != http.StatusRequestTimeout || !resp.Close {
				t.Errorf("%s: %d, closed %v", name, resp.StatusCode, resp.Close)
			}
			if err := within(t, testTimeout, "the worker's body ended", cut); err == nil {
				t.Errorf("%s: the worker saw the end of the body", name)
			}
			return took
		})
	}
	drained(t, b)
}

// TestAWorkerThatTakesItsTimeIsNotTheClientsFault has the client send all at
// once, and the worker read it slower than a client may send.
func TestAWorkerThatTakesItsTimeIsNotTheClientsFault(t *testing.T) {
	t.Parallel()
	s := generous
	s.MinBodyRate, s.bodyGrace = 20<<20, 200*time.Millisecond
	f := newFront(t, s)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for err := error(nil); err == nil; { // 16 MiB in 1.6 s
			<-tick.C
			_, err = io.CopyN(io.Discard, r.Body, 1<<20)
		}
	}))
	inTime(t, func() error {
		resp, _, err := try(f.Client(), "POST", f.URL, strings.Repeat("x", 16<<20))
		if err == nil && resp.StatusCode != 200 {
			err = fmt.Errorf("status %d, want 200", resp.StatusCode)
		}
		return err
	})
}

func TestAResponseThatBeganFreesTheBodyOfItsRate(t *testing.T) {
	t.Parallel()
	s := generous
	s.MinBodyRate, s.bodyGrace = 1<<30, 100*time.Millisecond
	f := newFront(t, s)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		io.Copy(w, r.Body)
	}))
	inTime(t, func() error {
		c, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		<-time.After(300 * time.Millisecond)
		io.WriteString(c, "body")
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "body" {
			return fmt.Errorf("%q, %v", body, err)
		}
		return nil
	})
}

func TestTheRateOfABodyIsOfTheTimeWaitedForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &bodyRate{min: 100, grace: 10 * time.Second}
		for _, step := range []struct {
			waits, works time.Duration
			got          int
			left         time.Duration // before it waits
		}{
			{9 * time.Second, time.Hour, 1, 10 * time.Second},
			{500 * time.Millisecond, time.Hour, 1499, time.Second}, // 1500 bytes pay for 15 s
			{5 * time.Second, 0, 1, 5500 * time.Millisecond},
			{0, 0, 0, 510 * time.Millisecond},
		} {
			p.startWait()
			if left := p.remaining(); left != step.left {
				t.Errorf("%v left, want %v", left, step.left)
			}
			time.Sleep(step.waits)
			if left := p.remaining(); left != step.left-step.waits {
				t.Errorf("in a wait %v left, want %v", left, step.left-step.waits)
			}
			p.endWait(step.got)
			time.Sleep(step.works)
		}
	})
}

// TestAHeldRequestIsNotAskedForItsBody also has it served then.
func TestAHeldRequestIsNotAskedForItsBody(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	c, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"+expecting+"\r\n")
	eventually(t, "it is held", func() bool { return f.route.Held() == 1 })
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if b, err := r.Peek(1); err == nil {
		t.Fatalf("it was answered %q before a worker was ready", b)
	}
	c.SetReadDeadline(time.Now().Add(testTimeout))
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 100 ") {
		t.Fatalf("%q", head)
	}
	io.WriteString(c, "body")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "body" {
		t.Errorf("%q", body)
	}
}

func TestAClientMaySendABodyThatNobodyAskedForYet(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	_, r := dial(t, f.addr(), strings.Repeat("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"+expecting+"\r\nbody", 2))
	for range 2 {
		resp, err := http.ReadResponse(r, nil)
		for err == nil && resp.StatusCode == 100 {
			resp, err = http.ReadResponse(r, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != "body" {
			t.Errorf("%q", body)
		}
	}
}

// TestABodyThatTheWorkerRefusedIsNotAskedFor has a worker that keeps its
// connection after the refusal, so that net/http would send it the body.
func TestABodyThatTheWorkerRefusedIsNotAskedFor(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	seen := make(chan string, 1)
	f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		all, _ := io.ReadAll(r)
		seen <- string(all)
	}))
	for range 3 {
		_, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"+expecting+"\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		mustStatus(t, resp, http.StatusForbidden)
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "no" || !resp.Close {
			t.Errorf("%q, %v, closed %v", body, err, resp.Close)
		}
		if rest, _ := io.ReadAll(r); len(rest) > 0 {
			t.Errorf("then %q", rest)
		}
		if all := within(t, testTimeout, "the worker's connection ended", seen); all != "" {
			t.Errorf("the worker was sent %q", all)
		}
	}
}

// What Connection names the worker does not see.
func TestAWorkerThatWasNotAskedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.Header.Get("Expect")+string(body))
	}))
	quickly(t, "the response", continueAfter/2, func() time.Duration {
		began := time.Now()
		_, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: expect\r\n"+expecting+"\r\nbody")
		if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 100 ") {
			t.Fatalf("%q", head)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != "body" {
			t.Errorf("%q", body)
		}
		return time.Since(began)
	})
}

// TestAWorkerThatKnowsNoContinueGetsTheBodyAfterAWhile also when it said
// something else before.
func TestAWorkerThatKnowsNoContinueGetsTheBodyAfterAWhile(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n")
		body := make([]byte, 4)
		io.ReadFull(r, body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"+string(body))
	}))
	c, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"+expecting+"\r\n")
	for _, want := range []string{"HTTP/1.1 103 ", "HTTP/1.1 100 "} {
		if head := readHead(r); !strings.HasPrefix(head, want) {
			t.Fatalf("%q", head)
		}
	}
	io.WriteString(c, "body")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "body" {
		t.Errorf("%q", body)
	}
}
