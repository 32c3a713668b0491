package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/policy"
)

type received struct {
	status int
	body   string
	err    error
}

// send sends a request beside the test.
func send(f *front, method, path, body string) <-chan received {
	c := make(chan received, 1)
	go func() { // ends with the client's timeout
		resp, text, err := try(f.Client(), method, f.URL+path, body)
		a := received{body: text, err: err}
		if err == nil {
			a.status = resp.StatusCode
		}
		c <- a
	}()
	return c
}

func TestRequestsWaitUntilABackendServes(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	var asked []<-chan received
	for n := range 20 {
		method, body := "GET", ""
		if n%2 == 1 {
			method, body = "POST", fmt.Sprint(n)
		}
		asked = append(asked, send(f, method, "/", body))
	}
	eventually(t, "20 wait", func() bool { return f.route.Held() == 20 })
	f.route.Hold() // nothing changes
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("page"))
		io.Copy(w, r.Body)
	}))
	for n, c := range asked {
		want := "page"
		if n%2 == 1 {
			want = fmt.Sprint("page", n)
		}
		if a := <-c; a.err != nil || a.status != 200 || a.body != want {
			t.Errorf("request %d: %+v, want %q", n, a, want)
		}
	}
	if n := f.route.Held(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

func TestRequestsThatWaitedReachTheWorkerInOrderOfArrival(t *testing.T) {
	t.Parallel()
	const requests = 100
	f := newFront(t, generous)
	var asked []<-chan received
	for n := range requests {
		asked = append(asked, send(f, "GET", fmt.Sprint("/", n), ""))
		eventually(t, "one more waits", func() bool { return f.route.Held() == n+1 })
	}
	var got, want []string
	for n := range requests {
		want = append(want, fmt.Sprintf("GET /%d HTTP/1.1", n))
	}
	f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		line, _, _ := strings.Cut(readHead(r), "\r\n")
		got = append(got, line)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}))
	for _, c := range asked {
		if a := <-c; a.err != nil || a.status != 200 {
			t.Fatalf("%+v", a)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order at the worker (-want +got):\n%s", diff)
	}
}

func TestARefusalWakesWhoWaits(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	get, post := send(f, "GET", "/", ""), send(f, "POST", "/", "body")
	eventually(t, "both wait", func() bool { return f.route.Held() == 2 })
	f.route.Refuse(policy.Refusal{Status: 503, Title: "This page is stopped"})
	for _, c := range []<-chan received{get, post} {
		if a := within(t, testTimeout, "the refusal came", c); a.status != 503 || !strings.Contains(a.body, "This page is stopped") {
			t.Errorf("%+v", a)
		}
	}
}

func TestAWaitingClientThatLeavesGivesUpItsPlace(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for name, request := range map[string]string{
		"GET":                  "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST, body half sent": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
		"POST, body all sent":  "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
		"POST in chunks":       "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
	} {
		quickly(t, name+" is noticed", 500*time.Millisecond, func() time.Duration {
			c, _ := dial(t, f.addr(), request)
			eventually(t, name+" waits", func() bool { return f.route.Held() == 1 })
			left := time.Now()
			c.Close()
			eventually(t, name+" is gone", func() bool { return f.route.Held() == 0 })
			return time.Since(left)
		})
	}
}

func TestAPlaceInTheMiddleCanBeGivenUp(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	first := send(f, "GET", "/", "")
	eventually(t, "one waits", func() bool { return f.route.Held() == 1 })
	middle, _ := dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, "two wait", func() bool { return f.route.Held() == 2 })
	last := send(f, "GET", "/", "")
	eventually(t, "three wait", func() bool { return f.route.Held() == 3 })
	middle.Close()
	eventually(t, "two are left", func() bool { return f.route.Held() == 2 })
	f.route.Serve(newWorker(t, say("page")))
	for _, c := range []<-chan received{first, last} {
		if a := within(t, testTimeout, "the response came", c); a.body != "page" {
			t.Errorf("%+v", a)
		}
	}
}

func TestNoMoreThanMaxHeldWait(t *testing.T) {
	t.Parallel()
	s := generous
	s.MaxHeld = 3
	f := newFront(t, s)
	var asked []<-chan received
	for range 3 {
		asked = append(asked, send(f, "GET", "/", ""))
	}
	eventually(t, "three wait", func() bool { return f.route.Held() == 3 })
	resp, _ := do(t, f.Client(), "GET", f.URL, "")
	mustStatus(t, resp, 503)
	if resp.Header.Get("Retry-After") == "" {
		t.Error("a 503 without Retry-After")
	}
	f.route.Serve(newWorker(t, say("page")))
	for _, c := range asked {
		if a := <-c; a.body != "page" {
			t.Errorf("%+v", a)
		}
	}
}

// serveOne answers a request in a bubble and returns after which time.
func serveOne(p *Proxy) (*httptest.ResponseRecorder, time.Duration) {
	start, w := time.Now(), httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w, time.Since(start)
}

func TestARequestWaitsNoLongerThanTheHoldTimeout(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{0, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p, r := New(Settings{HoldTimeout: timeout, MaxHeld: 1}), new(Route)
			p.SetRoutes(map[string]*Route{"/": r})
			time.AfterFunc(timeout/2, r.Hold) // does not begin it anew
			w, took := serveOne(p)
			if w.Code != 503 || took != timeout || w.Header().Get("Retry-After") != "1" {
				t.Errorf("%d after %v, Retry-After %q; want 503 after %v", w.Code, took, w.Header().Get("Retry-After"), timeout)
			}
		})
	}
}

func TestARefusalIsWaitedOutIfItEndsSoon(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		until  time.Duration
		took   time.Duration
		status int
		retry  string
	}{
		{until: 1999 * time.Millisecond, took: time.Second, status: 410},
		{until: 2 * time.Second, took: time.Second, status: 410},
		{until: 2001 * time.Millisecond, status: 503, retry: "3"},
		{until: 10 * time.Second, status: 503, retry: "10"},
		{until: -time.Second, took: time.Second, status: 410},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, r := New(generous), new(Route)
			p.SetRoutes(map[string]*Route{"/": r})
			r.Refuse(policy.Refusal{Status: 503, Title: "Crashed", RetryAt: time.Now().Add(tt.until)})
			time.AfterFunc(time.Second, func() { r.Refuse(policy.Refusal{Status: 410, Title: "Next"}) })
			w, took := serveOne(p)
			if w.Code != tt.status || took != tt.took || w.Header().Get("Retry-After") != tt.retry {
				t.Errorf("until %v: %d after %v, Retry-After %q; want %+v", tt.until, w.Code, took, w.Header().Get("Retry-After"), tt)
			}
			time.Sleep(time.Second)
		})
	}
}

func TestTheQueueOpensOnePlaceAfterTheOther(t *testing.T) {
	t.Parallel()
	var q queue
	open := func(p *heldRequest) bool {
		select {
		case <-p.turn:
			return true
		default:
			return false
		}
	}
	a, b, c := q.enter(3), q.enter(3), q.enter(3)
	if q.enter(3) != nil {
		t.Error("a fourth place of three")
	}
	if !open(a) || open(b) || open(c) {
		t.Error("at first only the first is open")
	}
	q.leave(b)
	q.leave(b)
	if open(c) || !open(b) {
		t.Error("who left opens nobody's place but its own")
	}
	q.leave(a)
	if !open(c) || q.len() != 1 {
		t.Error("the last is the first now")
	}
	q.leave(c)
	if q.len() != 0 {
		t.Error("somebody stayed")
	}
}
