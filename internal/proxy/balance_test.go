package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tqserver/internal/balance"
	"tqserver/internal/secret"
	"tqserver/internal/upstream"
)

// newSeat serves a handler and is a backend in a seat.
func newSeat(t *testing.T, seat int, handler http.HandlerFunc) *Backend {
	t.Helper()
	b := newWorker(t, handler)
	b.seat = seat
	return b
}

// newRow returns backends in the first n seats that say their seats.
func newRow(t *testing.T, n int) (row []*Backend) {
	t.Helper()
	for seat := range n {
		row = append(row, newSeat(t, seat, say(strconv.Itoa(seat))))
	}
	return row
}

// sharedKey is the key of tests.
var sharedKey = secret.Key{1, 2, 3}

// noReuse is a client that opens a connection for each request and keeps cookies if it
// has a jar.
func noReuse(jar http.CookieJar) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testTimeout, Jar: jar}
}

func TestRoundRobinSpreadsWithinOneRequest(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.SetBalance(Balance{Policy: "round_robin"})
	f.route.Serve(newRow(t, 3)...)
	counts := make(map[string]int)
	for n := range 50 {
		_, seat := do(t, f.Client(), "GET", f.URL, "")
		counts[seat]++
		for _, seat := range []string{"0", "1", "2"} {
			if got := counts[seat]; got < (n+1)/3 || got > (n+1)/3+1 {
				t.Fatalf("after %d requests: %v", n+1, counts)
			}
		}
	}
}

func TestLeastInFlightAvoidsABusyWorker(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	hang := make(chan struct{})
	defer close(hang)
	busy := newSeat(t, 0, func(http.ResponseWriter, *http.Request) { <-hang })
	f.route.Serve(busy)
	waiting := send(f, "GET", "/", "")
	eventually(t, "the first request is with the worker", func() bool { return busy.InFlight() == 1 })
	f.route.Serve(busy, newSeat(t, 1, say("other")))
	for range 20 {
		if _, who := do(t, f.Client(), "GET", f.URL, ""); who != "other" {
			t.Fatal("a request went to the busy worker")
		}
	}
	hang <- struct{}{}
	<-waiting
}

func TestAClientKeepsItsSeatOverSwaps(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"address", "cookie"} {
		f := newFront(t, generous)
		f.route.SetBalance(Balance{Policy: policy, CookieKey: sharedKey})
		f.route.Serve(newRow(t, 4)...)
		jar, _ := cookiejar.New(nil)
		client := noReuse(jar)
		_, seat := do(t, client, "GET", f.URL, "")
		for swap := range 10 {
			for range 5 {
				if _, now := do(t, client, "GET", f.URL, ""); now != seat {
					t.Fatalf("%s: on seat %s after %d swaps, not on %s", policy, now, swap, seat)
				}
			}
			for _, old := range f.route.Serve(newRow(t, 4)...) {
				old.Close()
			}
		}
	}
}

func TestTheCookieIsSetOnceAndHiddenFromThePage(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.SetBalance(Balance{Policy: "cookie", CookieKey: sharedKey})
	seen := make(chan []string, 1)
	f.route.Serve(newSeat(t, 0, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "own", Value: "1"})
		seen <- r.Header["Cookie"]
	}))
	visit := func(cookie string) (set []string) {
		req, _ := http.NewRequest("GET", f.URL, nil)
		if cookie != "" {
			req.Header.Set("Cookie", cookie)
		}
		resp, err := f.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		for _, line := range resp.Header["Set-Cookie"] {
			if strings.HasPrefix(line, balance.CookieName+"=") {
				set = append(set, line)
			}
		}
		if len(resp.Header["Set-Cookie"]) != len(set)+1 {
			t.Errorf("the page's own cookie is gone: %q", resp.Header["Set-Cookie"])
		}
		return set
	}
	set := visit("a=b")
	if len(set) != 1 || !strings.HasSuffix(set[0], "; Path=/; HttpOnly; SameSite=Lax") {
		t.Fatalf("Set-Cookie: %q", set)
	}
	if got := <-seen; len(got) != 1 || got[0] != "a=b" {
		t.Errorf("the page sees %q", got)
	}
	ours, _, _ := strings.Cut(set[0], ";")
	for cookie, want := range map[string][]string{ours: nil, "a=b; " + ours + "; c=d": {"a=b; c=d"}} {
		if set := visit(cookie); set != nil {
			t.Errorf("it is set again: %q", set)
		}
		if got := <-seen; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the page sees %q, want %q", got, want)
		}
	}
	for _, bad := range []string{"tq_worker=0.forged", "tq_worker=" + strings.Repeat("x", 30_000)} {
		if set := visit(bad); len(set) != 1 {
			t.Errorf("%.30s: Set-Cookie: %q", bad, set)
		}
		if got := <-seen; got != nil {
			t.Errorf("the page sees %q", got)
		}
	}
}

func TestACookieOfAnEmptySeatGetsAnother(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.SetBalance(Balance{Policy: "cookie", CookieKey: sharedKey})
	row := newRow(t, 3)
	f.route.Serve(row...)
	jar, _ := cookiejar.New(nil)
	client := noReuse(jar)
	_, first := do(t, client, "GET", f.URL, "")
	gone, _ := strconv.Atoi(first)
	f.route.Serve(append(row[:gone:gone], row[gone+1:]...)...)
	resp, second := do(t, client, "GET", f.URL, "")
	if second == first || resp.Header["Set-Cookie"] == nil {
		t.Fatalf("on seat %s with %q", second, resp.Header["Set-Cookie"])
	}
	f.route.Serve(newRow(t, 3)...)
	if _, third := do(t, client, "GET", f.URL, ""); third != second {
		t.Errorf("from seat %s to %s, where it was not sent", second, third)
	}
}

// TestWhatWasNotSentGoesElsewhereAtOnce counts at a worker that nobody listens for.
func TestWhatWasNotSentGoesElsewhereAtOnce(t *testing.T) {
	t.Parallel()
	s := generous
	s.HoldTimeout, s.MaxHeld = 0, 0 // so that no attempt may wait
	f := newFront(t, s)
	f.route.SetBalance(Balance{Policy: "round_robin"})
	dead := NewBackend(deadAddr(t), BackendOptions{Seat: 0})
	f.route.Serve(dead, newSeat(t, 1, say("ok")))
	for n := range 10 {
		resp, body := do(t, f.Client(), "POST", f.URL, "body")
		if resp.StatusCode != 200 || body != "ok" {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		if got := int(dead.Requests()); got > n+1 {
			t.Fatalf("%d attempts on the dead one for %d requests: another serves", got, n+1)
		}
	}
	if dead.Requests() == 0 {
		t.Error("none was tried there")
	}
}

func TestAPOSTIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.SetBalance(Balance{Policy: "round_robin"})
	var runs atomic.Int64
	cut := func(seat int) *Backend {
		b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			if head := readHead(r); strings.HasPrefix(head, "POST") {
				runs.Add(1)
			}
		})
		b.seat = seat
		return b
	}
	f.route.Serve(cut(0), cut(1), newSeat(t, 2, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			runs.Add(1)
		}
	}))
	for n := range 12 {
		do(t, f.Client(), "POST", f.URL, "body")
		if got := int(runs.Load()); got != n+1 {
			t.Fatalf("%d POSTs ran %d times", n+1, got)
		}
		if resp, _ := do(t, f.Client(), "GET", f.URL, ""); resp.StatusCode != 200 {
			t.Fatalf("a GET that two workers cut: %d, though the third serves", resp.StatusCode)
		}
	}
}

// failing is a backend whose connections fail while it is told so.
type failing struct {
	*Backend
	fails atomic.Bool
}

func newFailing(t *testing.T, seat int) *failing {
	b := &failing{Backend: newSeat(t, seat, say(strconv.Itoa(seat)))}
	b.pool = upstream.NewPool(testTimeout, func(ctx context.Context) (net.Conn, error) {
		if b.fails.Load() {
			return nil, syscall.ECONNREFUSED
		}
		return new(net.Dialer).DialContext(ctx, "tcp", b.Addr)
	})
	b.fails.Store(true)
	return b
}

// pass makes times that a route waits for be over.
func (r *Route) pass(b *Backend) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b.ejection.until = time.Now()
	r.noteOutLocked(r.current())
}

func TestAFailingWorkerIsEjectedAndComesBack(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	changed := make(chan struct{}, 1)
	f.route.Changed = changed
	f.route.SetBalance(Balance{Policy: "round_robin", EjectFailures: 3, EjectTime: time.Hour})
	bad := newFailing(t, 0)
	f.route.Serve(bad.Backend, newSeat(t, 1, say("1")), newSeat(t, 2, say("2")))
	for range 30 {
		if resp, _ := do(t, f.Client(), "POST", f.URL, "body"); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
	if got := bad.Requests(); got != 3 {
		t.Errorf("it had %d requests, want 3", got)
	}
	within(t, testTimeout, "the ejection was reported", changed)
	state := f.route.Balancing().Backends
	if left := time.Until(state[0].EjectedUntil); left < 50*time.Minute || left > time.Hour || !state[1].EjectedUntil.IsZero() || state[0].Seat != 0 {
		t.Errorf("%+v", state)
	}

	// When it is time a request tries it: no POST, and nobody notices that it fails.
	f.route.pass(bad.Backend)
	for range 10 {
		do(t, f.Client(), "POST", f.URL, "body")
	}
	if got := bad.Requests(); got != 3 {
		t.Errorf("a POST tried it")
	}
	for range 10 {
		if resp, _ := do(t, f.Client(), "GET", f.URL, ""); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
	if got := bad.Requests(); got != 4 {
		t.Errorf("%d requests tried it, want 1", got-3)
	}
	if left := time.Until(f.route.Balancing().Backends[0].EjectedUntil); left < 59*time.Minute { // longer than the longest, as set
		t.Errorf("it is out for %v", left)
	}
	bad.fails.Store(false)
	f.route.pass(bad.Backend)
	counts := make(map[string]int)
	for range 30 {
		_, seat := do(t, f.Client(), "GET", f.URL, "")
		counts[seat]++
	}
	if counts["0"] < 8 || !f.route.Balancing().Backends[0].EjectedUntil.IsZero() {
		t.Errorf("it did not come back: %v", counts)
	}
}

// TestHangingAndCutExchangesEject is of workers that fail in other ways, while a
// response of 500 and a client that leaves are no failures.
func TestHangingAndCutExchangesEject(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		serve http.HandlerFunc
		out   bool
	}{
		"cut before a response": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true},
		"cut in a response": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, true},
		"hangs":          {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, true},
		"fails properly": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, false},
	} {
		s := generous
		if name == "hangs" {
			s.WriteTimeout = 50 * time.Millisecond
		}
		f := newFront(t, s)
		f.route.SetBalance(Balance{Policy: "round_robin", EjectFailures: 2, EjectTime: time.Hour})
		f.route.Serve(newSeat(t, 0, tt.serve), newSeat(t, 1, say("ok")))
		for range 8 {
			try(f.Client(), "GET", f.URL, "")
		}
		eventually(t, name+": the worker is out as it should be", func() bool {
			return f.route.Balancing().Backends[0].EjectedUntil.IsZero() != tt.out
		})
	}
}

func TestAClientThatLeavesIsNoFailure(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.SetBalance(Balance{EjectFailures: 1, EjectTime: time.Hour})
	slow := func(seat int) *Backend {
		return newSeat(t, seat, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}
	row := []*Backend{slow(0), slow(1)}
	f.route.Serve(row...)
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", f.URL, nil)
		left := make(chan error, 1)
		go func() { // ends with ctx
			_, err := f.Client().Do(req)
			left <- err
		}()
		eventually(t, "it is under way", func() bool { return row[0].InFlight()+row[1].InFlight() == 1 })
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		eventually(t, "it has ended", func() bool { return row[0].InFlight()+row[1].InFlight() == 0 })
	}
	for _, b := range f.route.Balancing().Backends {
		if !b.EjectedUntil.IsZero() {
			t.Error("a worker was ejected")
		}
	}
}

func TestTheLastWorkerServesHoweverItDoes(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.SetBalance(Balance{Policy: "round_robin", EjectFailures: 1, EjectTime: time.Hour})
	a, b := newFailing(t, 0), newFailing(t, 1)
	b.fails.Store(false)
	f.route.Serve(a.Backend, b.Backend)
	do(t, f.Client(), "GET", f.URL, "")
	do(t, f.Client(), "GET", f.URL, "")
	if f.route.Balancing().Backends[0].EjectedUntil.IsZero() {
		t.Fatal("the first is not ejected")
	}
	for range 3 { // the second fails each time, and is not ejected
		b.pool.Close()
		b.fails.Store(true)
		asked := send(f, "GET", "/", "")
		before := b.Requests()
		eventually(t, "it was tried", func() bool { return b.Requests() > before+2 })
		b.fails.Store(false)
		if got := within(t, testTimeout, "it was answered", asked); got.status != 200 {
			t.Fatal(got.status)
		}
	}
	if !f.route.Balancing().Backends[1].EjectedUntil.IsZero() || a.Requests() != 1 {
		t.Errorf("the last was ejected, or the first had %d requests", a.Requests())
	}
	a.fails.Store(false)
	f.route.Serve(a.Backend) // it is the last now
	if !f.route.Balancing().Backends[0].EjectedUntil.IsZero() {
		t.Error("the first is ejected, though no other is left")
	}
	f.route.Serve(a.Backend, b.Backend)
	f.route.SetBalance(Balance{})
	if resp, _ := do(t, f.Client(), "POST", f.URL, "body"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

func TestTheBreakerSparesAPageAndTriesIt(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	changed := make(chan struct{}, 1)
	f.route.Changed = changed
	limits := Balance{BreakerPercent: 50, BreakerMinRequests: 4, BreakerWindow: time.Hour, BreakerOpen: 30 * time.Minute}
	f.route.SetBalance(limits)
	<-changed
	var status atomic.Int64
	status.Store(500)
	worker := newWorker(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) })
	f.route.Serve(worker)
	for range 4 {
		resp, _ := do(t, f.Client(), "GET", f.URL, "")
		mustStatus(t, resp, 500)
	}
	within(t, testTimeout, "the opening was reported", changed)
	for range 5 {
		resp, _ := do(t, f.Client(), "POST", f.URL, "body")
		mustStatus(t, resp, 503)
		if retry, _ := strconv.Atoi(resp.Header.Get("Retry-After")); retry < 1700 || retry > 1800 {
			t.Errorf("Retry-After: %d", retry)
		}
	}
	if worker.Requests() != 4 {
		t.Errorf("the page had %d requests", worker.Requests())
	}
	if b := f.route.Balancing(); b.Breaker != BreakerOpen || b.BreakerUntil.IsZero() {
		t.Errorf("%+v", b)
	}
	passOpen := func() {
		f.route.mu.Lock()
		defer f.route.mu.Unlock()
		f.route.balancing.breaker.until = time.Now()
	}

	passOpen()
	resp, _ := do(t, f.Client(), "GET", f.URL, "")
	mustStatus(t, resp, 500) // it tries, and fails
	resp, _ = do(t, f.Client(), "GET", f.URL, "")
	mustStatus(t, resp, 503)

	passOpen()
	status.Store(200)
	for n := range 3 {
		resp, _ := do(t, f.Client(), "GET", f.URL, "")
		mustStatus(t, resp, 200)
		if want := map[bool]BreakerState{true: BreakerClosed, false: BreakerTrying}[n == 2]; f.route.Balancing().Breaker != want {
			t.Errorf("after %d good requests: %v, want %v", n+1, f.route.Balancing().Breaker, want)
		}
	}
	f.route.SetBalance(Balance{})
	status.Store(500)
	for range 10 {
		resp, _ := do(t, f.Client(), "GET", f.URL, "")
		mustStatus(t, resp, 500)
	}
}

func TestWhatNeverReachedThePageDoesNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	s := generous
	s.HoldTimeout = time.Millisecond
	f := newFront(t, s)
	f.route.SetBalance(Balance{BreakerPercent: 1, BreakerMinRequests: 1, BreakerWindow: time.Hour, BreakerOpen: time.Hour})
	f.route.Serve(NewBackend(deadAddr(t), BackendOptions{}))
	for range 3 {
		resp, _ := do(t, f.Client(), "GET", f.URL, "")
		mustStatus(t, resp, 503)
	}
	f.route.Hold()
	resp, _ := do(t, f.Client(), "GET", f.URL, "")
	mustStatus(t, resp, 503)
	f.route.Serve(newWorker(t, say("ok")))
	resp, _ = do(t, f.Client(), "GET", f.URL, "")
	mustStatus(t, resp, 200)
	f.route.Serve(newWorker(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	resp, _ = do(t, f.Client(), "POST", f.URL, "body")
	mustStatus(t, resp, 502)
	resp, _ = do(t, f.Client(), "POST", f.URL, "body")
	mustStatus(t, resp, 503)
}
