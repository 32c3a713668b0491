package proxy

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tqserver/internal/policy"
)

// counted is what a test looks at; durations are checked where they are known.
type counted struct {
	Traffic
	Timed uint64
}

func count(r *Route) counted {
	c := counted{Traffic: r.Traffic()}
	for _, n := range r.Durations() {
		c.Timed += n
	}
	return c
}

// wantCounted waits until a route has counted just so.
func wantCounted(t *testing.T, what string, r *Route, want counted) {
	t.Helper()
	late := time.After(testTimeout)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for count(r) != want {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("%s (-want +got):\n%s", what, cmp.Diff(want, count(r)))
		}
	}
}

func TestAQuantileIsOffByASixteenthAtMost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		magnitude := rapid.IntRange(shortest, longest-1)
		durations := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) time.Duration {
			octave := time.Duration(1) << magnitude.Draw(rt, "octave")
			return octave + time.Duration(rapid.Int64Range(0, int64(octave)-1).Draw(rt, "beyond"))
		}), 1, 300).Draw(rt, "durations")
		r := new(Route)
		for _, d := range durations {
			r.traffic.record(http.StatusOK, d)
		}
		slices.Sort(durations)
		for _, q := range []float64{0, 0.5, 0.95, 0.99, 1, rapid.Float64Range(0, 1).Draw(rt, "q")} {
			exact := durations[max(1, int(math.Ceil(q*float64(len(durations)))))-1]
			got := r.Durations().Quantile(q)
			if off := math.Abs(float64(got-exact)) / float64(exact); off > 1./16 {
				rt.Fatalf("quantile %v of %v: %v, which is off by %.1f %%", q, durations, got, 100*off)
			}
		}
	})
}

func TestBucketsFollowOneAnother(t *testing.T) {
	t.Parallel()
	for i := range buckets {
		if got := bucketOf(middle(i)); got != i {
			t.Errorf("the middle of bucket %d, %v, is in bucket %d", i, middle(i), got)
		}
	}
	for d, want := range map[time.Duration]int{0: 0, 1: 0, 1 << shortest: 0, 1<<longest - 1: buckets - 1, 1 << longest: buckets - 1, math.MaxInt64: buckets - 1} {
		if got := bucketOf(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
}

func TestAnEmptyHistogramHasNoQuantile(t *testing.T) {
	t.Parallel()
	r := new(Route)
	if got := r.Durations().Quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
	for range 100 {
		r.traffic.record(http.StatusOK, time.Hour)
	}
	old := r.Durations()
	r.traffic.record(http.StatusOK, time.Millisecond)
	if got := r.Durations().Sub(old).Quantile(1); got < 15*time.Millisecond/16 || got > 17*time.Millisecond/16 {
		t.Errorf("the longest since then is %v, want about 1ms", got)
	}
}

func TestNoRequestIsLostWhenManyEnd(t *testing.T) {
	t.Parallel()
	r := new(Route)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 3000 {
				took := time.Millisecond
				if i%3 == 0 {
					took = untimed
				}
				r.traffic.record(500-i%2, took)
				if traffic := r.Traffic(); traffic.Errors > traffic.Requests {
					t.Errorf("%d of %d requests are errors", traffic.Errors, traffic.Requests)
				}
			}
		})
	}
	all.Wait()
	if got, want := count(r), (counted{Traffic: Traffic{Requests: 24_000, Errors: 12_000}, Timed: 16_000}); got != want {
		t.Error(cmp.Diff(want, got))
	}
}

func TestEveryResponseIsCountedOnce(t *testing.T) {
	t.Parallel()
	s := generous
	s.WriteTimeout, s.ReadTimeout, s.HoldTimeout = 2*hasty, 2*hasty, 50*time.Millisecond
	f := newFront(t, s)
	worker := newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/hinting":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNotFound)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/silent":
			<-r.Context().Done()
		default:
			panic(http.ErrAbortHandler)
		}
	})
	for _, tt := range []struct {
		path  string
		state func(*Route)
		want  counted
	}{
		{"/ok", func(r *Route) { r.Serve(worker) }, counted{Traffic{Requests: 1}, 1}},
		{"/hinting", func(r *Route) { r.Serve(worker) }, counted{Traffic{Requests: 1}, 1}},
		{"/broken", func(r *Route) { r.Serve(worker) }, counted{Traffic{Requests: 1, Errors: 1}, 1}},
		{"/dies", func(r *Route) { r.Serve(worker) }, counted{Traffic{Requests: 1, Errors: 1}, 1}},
		{"/silent", func(r *Route) { r.Serve(worker) }, counted{Traffic{Requests: 1, Errors: 1}, 1}},
		{"/events", func(r *Route) { r.Serve(worker) }, counted{Traffic{Requests: 1, Errors: 1}, 0}},
		{"/held", (*Route).Hold, counted{Traffic{Requests: 1, Errors: 1}, 1}},
		{"/refused", func(r *Route) { r.Refuse(policy.Refusal{Status: 503}) }, counted{Traffic{Requests: 1, Errors: 1}, 1}},
		{"/teapot", func(r *Route) { r.Refuse(policy.Refusal{Status: 418}) }, counted{Traffic{Requests: 1}, 1}},
		{"/nobody", (*Route).Hold, counted{}},
	} {
		route := new(Route)
		f.proxy.SetRoutes(map[string]*Route{"/": route, "/nobody": nil})
		tt.state(route)
		do(t, f.Client(), "GET", f.URL+tt.path, "")
		wantCounted(t, tt.path, route, tt.want)
	}
}

func TestAClientThatLeftIsARequestAndNoError(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	c, _ := dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, "it waits", func() bool { return f.route.Held() == 1 })
	if got := count(f.route); got != (counted{}) {
		t.Errorf("held: %+v", got)
	}
	c.Close()
	wantCounted(t, "it left while it was held", f.route, counted{Traffic: Traffic{Requests: 1}})

	asked := make(chan struct{})
	f.route.Serve(newWorker(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	c, _ = dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-asked
	wantCounted(t, "it is under way", f.route, counted{Traffic: Traffic{Requests: 1, InFlight: 1}})
	c.Close()
	wantCounted(t, "it left before a response", f.route, counted{Traffic: Traffic{Requests: 2}})
}

func TestStreamsAreInFlightUntilTheyEnd(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching("echo"))
		io.Copy(c, r)
	}))
	c, _ := upgrade(t, f, "echo")
	wantCounted(t, "upgraded", f.route, counted{Traffic: Traffic{InFlight: 1, Upgraded: 1}})
	c.Close()
	wantCounted(t, "ended", f.route, counted{Traffic: Traffic{Requests: 1}})

	do(t, f.Client(), "GET", f.URL, "") // nobody asked for what it switches to
	wantCounted(t, "refused", f.route, counted{Traffic: Traffic{Requests: 2, Errors: 1}, Timed: 1})
}

func TestWhatIsUnderWayOnAReplacedBackendDrains(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	goOn := make(chan struct{})
	wait := func(w http.ResponseWriter, _ *http.Request) { <-goOn; fmt.Fprint(w, "done") }
	workers := []*Backend{newWorker(t, wait), newWorker(t, wait), newWorker(t, wait)}
	var answers []<-chan received
	var retired []*Backend
	for i, b := range workers {
		retired = append(retired, f.route.Serve(b)...)
		answers = append(answers, send(f, "GET", "/", ""))
		wantCounted(t, "another is under way", f.route, counted{Traffic: Traffic{InFlight: i + 1, Draining: i}})
	}
	f.route.Serve(workers[1], workers[1]) // it serves again
	wantCounted(t, "served again", f.route, counted{Traffic: Traffic{InFlight: 3, Draining: 2}})
	f.route.Hold()
	wantCounted(t, "none serves", f.route, counted{Traffic: Traffic{InFlight: 3, Draining: 3}})
	close(goOn)
	for _, a := range answers {
		<-a
	}
	for _, b := range workers {
		drained(t, b)
	}
	wantCounted(t, "all have ended", f.route, counted{Traffic: Traffic{Requests: 3}, Timed: 3})
	f.route.Serve()
	if n := len(f.route.current().retired); len(retired) != 2 || n > 0 {
		t.Errorf("%d were retired, %d drained ones are kept", len(retired), n)
	}
}

func TestTheTimeThatARequestIsHeldCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, r := New(generous), new(Route)
		p.SetRoutes(map[string]*Route{"/": r})
		time.AfterFunc(3*time.Second, func() { r.Refuse(policy.Refusal{Status: 503}) })
		serveOne(p)
		if got := r.Durations().Quantile(1); got != middle(bucketOf(3*time.Second)) {
			t.Errorf("it took %v", got)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	r := new(Route)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			x := exchange{started: time.Now(), wait: waiting{route: r}, status: http.StatusOK}
			x.count(time.Since(x.started))
		}
	})
}

func BenchmarkTraffic(b *testing.B) {
	r := new(Route)
	r.Serve(NewBackend("", BackendOptions{}))
	b.ReportAllocs()
	for b.Loop() {
		r.Traffic()
	}
}

func BenchmarkPercentiles(b *testing.B) {
	r := new(Route)
	for i := range 10_000 {
		r.traffic.record(http.StatusOK, time.Duration(i)*time.Millisecond)
	}
	old := new(Histogram)
	b.ReportAllocs()
	for b.Loop() {
		h := r.Durations().Sub(old)
		h.Quantile(0.5)
		h.Quantile(0.95)
	}
}
