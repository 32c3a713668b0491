package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tqserver/internal/policy"
	"tqserver/internal/upstream"
)

func TestWhatCouldNotBeSentGoesToTheWorkerThatServesThen(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH"} {
		s := generous
		s.ReadTimeout, s.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond // waiting is not the worker's time
		f := newFront(t, s)
		inTime(t, func() error {
			dead := NewBackend(deadAddr(t), BackendOptions{})
			f.route.Serve(dead)
			body := strings.Repeat("0123456789", 10_000)
			if method == "GET" {
				body = ""
			}
			asked := send(f, method, "/", body)
			eventually(t, "it was tried some times", func() bool { return dead.Requests() >= 18 }) // which takes longer than that
			if n := f.route.Held(); n != 1 {
				t.Errorf("%s: %d wait, want 1", method, n)
			}
			var served atomic.Int64
			f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
				served.Add(1)
				got, _ := io.ReadAll(r.Body)
				w.Write(got)
			}))
			if a := <-asked; a.err != nil || a.status != 200 || a.body != body || served.Load() != 1 {
				return fmt.Errorf("%s: %d, %d bytes of %d, %v, served %d times", method, a.status, len(a.body), len(body), a.err, served.Load())
			}
			drained(t, dead)
			return nil
		})
	}
}

func TestWhatCannotBeSentIsRefusedInTheEnd(t *testing.T) {
	t.Parallel()
	s := generous
	s.HoldTimeout = 100 * time.Millisecond
	f := newFront(t, s)
	f.route.Serve(NewBackend(deadAddr(t), BackendOptions{}))
	resp, _ := do(t, f.Client(), "POST", f.URL, "body")
	mustStatus(t, resp, 503)

	f = newFront(t, generous)
	dead := NewBackend(deadAddr(t), BackendOptions{})
	f.route.Serve(dead)
	asked := send(f, "POST", "/", "body")
	eventually(t, "it was tried", func() bool { return dead.Requests() > 0 })
	f.route.Refuse(policy.Refusal{Status: 503, Title: "This page is stopped"})
	if a := within(t, testTimeout, "the refusal came", asked); a.status != 503 || !strings.Contains(a.body, "stopped") {
		t.Errorf("%+v", a)
	}
}

// TestOnlyWhatIsSafeIsRepeated counts at workers that die with a request.
func TestOnlyWhatIsSafeIsRepeated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, request, before string // what the worker says before it dies
		repeated              bool
	}{
		{"GET", "GET / HTTP/1.1\r\n\r\n", "", true},
		{"HEAD", "HEAD / HTTP/1.1\r\n\r\n", "", true},
		{"OPTIONS", "OPTIONS / HTTP/1.1\r\n\r\n", "", true},
		{"TRACE", "TRACE / HTTP/1.1\r\n\r\n", "", true},
		{"POST", "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", "", false},
		{"POST without a body", "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "", false},
		{"POST that may be repeated", "POST / HTTP/1.1\r\nContent-Length: 0\r\nIdempotency-Key: k\r\n\r\n", "", false},
		{"POST that may be repeated too", "POST / HTTP/1.1\r\nContent-Length: 0\r\nX-Idempotency-Key: k\r\n\r\n", "", false},
		{"DELETE", "DELETE / HTTP/1.1\r\n\r\n", "", false},
		{"GET with a body", "GET / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", "", false},
		{"GET with chunks", "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", false},
		{"GET after a byte", "GET / HTTP/1.1\r\n\r\n", "H", false},
		{"GET after half a header", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nA:", false},
		{"GET after a hint", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", false},
	} {
		for _, reused := range []bool{false, true} {
			f := newFront(t, generous)
			var runs atomic.Int64
			f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
				for {
					head := readHead(r)
					switch {
					case head == "":
						return
					case strings.Contains(head, " /warm "):
						io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
						continue
					case runs.Add(1) == 1:
						io.WriteString(c, tt.before)
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
					return
				}
			}))
			if reused {
				do(t, f.Client(), "GET", f.URL+"/warm", "")
			}
			want, wantRuns := 502, int64(1)
			if tt.repeated {
				want, wantRuns = 200, 2
			}
			_, r := dial(t, f.addr(), strings.Replace(tt.request, "\r\n", "\r\nHost: x\r\n", 1))
			method, _, _ := strings.Cut(tt.request, " ")
			resp, err := http.ReadResponse(r, &http.Request{Method: method})
			for err == nil && resp.StatusCode == 103 {
				resp, err = http.ReadResponse(r, &http.Request{Method: method})
			}
			if err != nil {
				t.Fatal(tt.name, err)
			}
			if resp.StatusCode != want || runs.Load() != wantRuns {
				t.Errorf("%s, connection reused: %v: %d, run %d times; want %d, %d times", tt.name, reused, resp.StatusCode, runs.Load(), want, wantRuns)
			}
		}
	}
}

// TestAnotherAttemptNeedsNoLeaveToWait is of servers that let no request wait for
// a worker.
func TestAnotherAttemptNeedsNoLeaveToWait(t *testing.T) {
	t.Parallel()
	noTime, noRoom := generous, generous
	noTime.HoldTimeout = 0
	noRoom.MaxHeld = 0
	for name, s := range map[string]Settings{"hold_timeout_seconds: 0": noTime, "max_held: 0": noRoom} {
		f := newFront(t, s)
		f.route.Serve(newRawWorker(t, func(n int, c net.Conn, r *bufio.Reader) {
			if readHead(r); n == maxRepeats {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}))
		if resp, _ := do(t, f.Client(), "GET", f.URL, ""); resp.StatusCode != 200 {
			t.Errorf("%s: closed without a byte: %d", name, resp.StatusCode)
		}
		if resp, _ := do(t, f.Client(), "POST", f.URL, ""); resp.StatusCode != 502 {
			t.Errorf("%s: a POST, closed without a byte: %d", name, resp.StatusCode)
		}
		worker := newWorker(t, say("ok"))
		var dialled atomic.Int64
		worker.pool = upstream.NewPool(testTimeout, func(ctx context.Context) (net.Conn, error) {
			if dialled.Add(1) == 1 {
				return nil, syscall.ECONNREFUSED
			}
			return new(net.Dialer).DialContext(ctx, "tcp", worker.Addr)
		})
		f.route.Serve(worker)
		if resp, _ := do(t, f.Client(), "POST", f.URL, "body"); resp.StatusCode != 200 {
			t.Errorf("%s: refused by the kernel: %d", name, resp.StatusCode)
		}
		dead := NewBackend(deadAddr(t), BackendOptions{})
		f.route.Serve(dead)
		if resp, _ := do(t, f.Client(), "GET", f.URL, ""); resp.StatusCode != 503 || dead.Requests() != 1+quickTries {
			t.Errorf("%s: nobody there: %d, after %d attempts", name, resp.StatusCode, dead.Requests())
		}
		f.route.Hold()
		if resp, _ := do(t, f.Client(), "GET", f.URL, ""); resp.StatusCode != 503 {
			t.Errorf("%s: held: %d", name, resp.StatusCode)
		}
	}
}

func TestARequestThatKillsWorkersIsNotRepeatedForEver(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	var runs atomic.Int64
	f.route.Serve(newWorker(t, func(http.ResponseWriter, *http.Request) { runs.Add(1); panic(http.ErrAbortHandler) }))
	resp, _ := do(t, f.Client(), "GET", f.URL, "")
	mustStatus(t, resp, 502)
	if runs.Load() != 1+maxRepeats {
		t.Errorf("it ran %d times", runs.Load())
	}
}

// A worker that was killed closes its connections one after another, and is
// known to have ended a moment later.
func TestARequestIsNotRepeatedOnAllConnectionsOfAWorkerThatEnds(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	next := newWorker(t, say("next"))
	f.route.Serve(newRawWorker(t, func(n int, _ net.Conn, r *bufio.Reader) {
		readHead(r)
		if n == 0 {
			time.AfterFunc(10*time.Millisecond, func() { f.route.Serve(next) })
		}
	}))
	if resp, body := do(t, f.Client(), "GET", f.URL, ""); resp.StatusCode != 200 || body != "next" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func TestARepeatedRequestGoesToTheWorkerThatServesThen(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	next := newWorker(t, say("next"))
	got := make(chan struct{})
	first := newRawWorker(t, func(_ int, _ net.Conn, r *bufio.Reader) {
		readHead(r)
		f.route.Serve(next)
		close(got)
	})
	f.route.Serve(first)
	resp, body := do(t, f.Client(), "GET", f.URL, "")
	if <-got; resp.StatusCode != 200 || body != "next" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	drained(t, first)
}
