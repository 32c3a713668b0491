package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/policy"
	"tqserver/internal/process"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// fixture is a sampler with routes that refuse requests, at a moment that the test
// sets, and with processes whose usage the test sets.
type fixture struct {
	t       *testing.T
	store   *state.Store
	sampler *Sampler

	mu     sync.Mutex            // guards all below
	usages map[int]process.Usage // by pid; those that are missing have ended
	reads  int                   // of usages
}

func newFixture(t *testing.T, routes ...string) *fixture {
	s := &fixture{t: t, store: state.NewStore(state.Server{}), usages: make(map[int]process.Usage)}
	s.sampler = New(s.store)
	s.sampler.usage = func(pid int) (process.Usage, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reads++
		u, ok := s.usages[pid]
		if !ok {
			return process.Usage{}, os.ErrNotExist
		}
		return u, nil
	}
	s.setRoutes(routes...)
	return s
}

// setRoutes sets new routes.
func (s *fixture) setRoutes(routes ...string) {
	entries := make(map[string]*proxy.Route)
	for _, route := range routes {
		entries[route] = new(proxy.Route)
		s.store.Publish(state.Event{Page: &state.Page{Route: route}})
	}
	s.sampler.SetRoutes(entries)
}

// withSampler runs a test beside a running sampler, in a bubble.
func withSampler(t *testing.T, test func(s *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, "/")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.sampler.Run(ctx) }() // ends with ctx
		defer func() { cancel(); <-done }()
		test(s)
	})
}

// request makes a request whose response has a status and comes after a time.
func (s *fixture) request(status int, after time.Duration) {
	entry := (*s.sampler.routes.Load())["/"]
	entry.Hold()
	time.AfterFunc(after, func() { entry.Refuse(policy.Refusal{Status: status}) })
	p := proxy.New(proxy.Settings{HoldTimeout: time.Hour, MaxHeld: 1})
	p.SetRoutes(map[string]*proxy.Route{"/": entry})
	p.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

// setUsage sets the usage of a process.
func (s *fixture) setUsage(pid int, u process.Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usages[pid] = u
}

// end ends a process.
func (s *fixture) end(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.usages, pid)
}

// setServing publishes the page with a worker that serves, or with none.
func (s *fixture) setServing(pid int) {
	page := state.Page{Route: "/", Workers: []state.Worker{{Role: state.RoleDraining, PID: 1}}}
	if pid != 0 {
		page.Workers = append(page.Workers, state.Worker{Role: state.RoleServing, PID: pid})
	}
	s.store.Publish(state.Event{Page: &page})
}

// load returns the newest load after a time.
func (s *fixture) load(after time.Duration) state.Load {
	time.Sleep(after)
	synctest.Wait()
	u, _ := s.store.Next(s.t.Context(), state.Cursor{})
	for _, p := range u.Snapshot.Pages {
		if p.Route == "/" && p.Load != nil {
			return *p.Load
		}
	}
	return state.Load{}
}

func TestTheRateIsThatOfTheLastTwoSeconds(t *testing.T) {
	withSampler(t, func(s *fixture) {
		for range 5 {
			s.request(http.StatusNotFound, 10*time.Millisecond)
		}
		if got := s.load(500 * time.Millisecond); got.Requests != 5 || got.Errors != 0 || got.Rate != 2.5 {
			t.Errorf("after the first: %+v", got)
		}
		s.request(http.StatusServiceUnavailable, 10*time.Millisecond)
		if got := s.load(time.Second); got.Requests != 6 || got.Errors != 1 || got.Rate != 3 {
			t.Errorf("after one more: %+v", got)
		}
		if got := s.load(time.Second); got.Requests != 6 || got.Rate != 0.5 {
			t.Errorf("two seconds after the first: %+v", got)
		}
		if got := s.load(time.Second); got.Requests != 6 || got.Rate != 0 {
			t.Errorf("at last: %+v", got)
		}
	})
}

func TestPercentilesAreThoseOfTheLastTenSecondsThatHadAny(t *testing.T) {
	near := func(d, want time.Duration) bool { return math.Abs(float64(d-want)) <= float64(want)/14 }
	withSampler(t, func(s *fixture) {
		for range 18 {
			s.request(http.StatusOK, 10*time.Millisecond)
		}
		s.request(http.StatusOK, time.Second)
		s.request(http.StatusOK, time.Second)
		first := s.load(500 * time.Millisecond)
		if !near(time.Duration(first.P50), 10*time.Millisecond) || !near(time.Duration(first.P95), time.Second) {
			t.Errorf("at first: %+v", first)
		}
		s.load(5 * time.Second)
		for range 19 {
			s.request(http.StatusOK, 100*time.Millisecond)
		}
		if got := s.load(500 * time.Millisecond); !near(time.Duration(got.P50), 100*time.Millisecond) || !near(time.Duration(got.P95), time.Second) {
			t.Errorf("of all: %+v", got)
		}
		if got := s.load(5 * time.Second); !near(time.Duration(got.P50), 100*time.Millisecond) || !near(time.Duration(got.P95), 100*time.Millisecond) {
			t.Errorf("of the later ones: %+v", got)
		}
		if got := s.load(time.Hour); !near(time.Duration(got.P50), 100*time.Millisecond) || !near(time.Duration(got.P95), 100*time.Millisecond) || got.Requests != 39 {
			t.Errorf("of none: %+v", got)
		}
	})
}

func TestMemoryAndCPUAreThoseOfTheServingWorker(t *testing.T) {
	withSampler(t, func(s *fixture) {
		s.setUsage(1, process.Usage{Memory: 99 * mebibyte})
		s.setUsage(7, process.Usage{Memory: 20*mebibyte + 4096, CPU: time.Second})
		s.setUsage(8, process.Usage{Memory: 10 * mebibyte, CPU: 100 * time.Millisecond})
		s.setServing(7)
		if got, want := s.load(300*time.Millisecond), (state.Load{Page: "/", Memory: 20 * mebibyte}); got != want {
			t.Error(cmp.Diff(want, got))
		}
		s.setUsage(7, process.Usage{Memory: 30 * mebibyte, CPU: 2 * time.Second})
		if got, want := s.load(2*time.Second), (state.Load{Page: "/", Memory: 30 * mebibyte, CPU: 50}); got != want {
			t.Error(cmp.Diff(want, got))
		}
		s.setServing(8) // which has taken less so far
		if got, want := s.load(250*time.Millisecond), (state.Load{Page: "/", Memory: 10 * mebibyte}); got != want {
			t.Error(cmp.Diff(want, got))
		}
		s.end(8)
		if got, want := s.load(2*time.Second), (state.Load{Page: "/"}); got != want {
			t.Error(cmp.Diff(want, got))
		}
		s.setUsage(7, process.Usage{Memory: 40 * mebibyte})
		s.setServing(7)
		s.load(250 * time.Millisecond)
		s.setServing(0)
		if got, want := s.load(250*time.Millisecond), (state.Load{Page: "/"}); got != want {
			t.Error(cmp.Diff(want, got))
		}
	})
}

func TestAProcessIsAskedEveryTwoSecondsUnlessItRests(t *testing.T) {
	for name, tt := range map[string]struct {
		second  func(s *fixture, n int)
		atLeast int
		atMost  int
	}{
		"has requests": {func(s *fixture, _ int) { s.request(http.StatusOK, time.Millisecond) }, 28, 31},
		"grows":        {func(s *fixture, n int) { s.setUsage(7, process.Usage{Memory: int64(n) * mebibyte}) }, 28, 31},
		"rests":        {func(*fixture, int) {}, 6, 8},
	} {
		withSampler(t, func(s *fixture) {
			s.setUsage(7, process.Usage{Memory: mebibyte})
			s.setServing(7)
			for n := range 60 {
				tt.second(s, n)
				s.load(time.Second)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.reads < tt.atLeast || s.reads > tt.atMost {
				t.Errorf("while it %s its usage was read %d times in a minute", name, s.reads)
			}
		})
	}
}

func TestAnIdlePageWakesNobody(t *testing.T) {
	withSampler(t, func(s *fixture) {
		s.setUsage(7, process.Usage{Memory: 20 * mebibyte})
		s.setServing(7)
		s.request(http.StatusOK, 5*time.Millisecond)
		s.load(20 * time.Second)
		u, _ := s.store.Next(s.t.Context(), state.Cursor{})
		quiet, cancel := context.WithTimeout(s.t.Context(), time.Hour)
		defer cancel()
		if got, err := s.store.Next(quiet, u.Cursor); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestARouteThatIsMadeAnewStartsAnew(t *testing.T) {
	withSampler(t, func(s *fixture) {
		s.request(http.StatusOK, 5*time.Millisecond)
		if got := s.load(time.Second); got.Requests != 1 || got.P50 == 0 {
			t.Errorf("before: %+v", got)
		}
		s.setRoutes("/", "/other")
		if got := s.load(time.Second); got != (state.Load{Page: "/"}) {
			t.Errorf("after: %+v", got)
		}
		s.setRoutes("/other")
		s.load(time.Second)
		if len(s.sampler.gauges) != 1 {
			t.Errorf("%d gauges are kept for one route", len(s.sampler.gauges))
		}
	})
}

func TestTheLastMeasureIsOfTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, "/")
		s.request(http.StatusOK, 5*time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.sampler.Run(ctx)
		if got := s.load(0); got.Requests != 1 {
			t.Errorf("%+v", got)
		}
	})
}

func TestAWindowKeepsWhatItNeeds(t *testing.T) {
	var w window
	now, copies := time.Now(), 0
	for i := range 1000 {
		now = now.Add(measureEvery)
		w.add(now, uint64(i/20), func() *proxy.Histogram { copies++; return new(proxy.Histogram) })
		if oldest := now.Sub(w[0].at); oldest > responsesOver {
			t.Fatalf("a moment of %v ago is kept", oldest)
		}
	}
	if len(w) != int(responsesOver/measureEvery)+1 || cap(w) > 100 || copies != 49 {
		t.Errorf("%d moments are kept in room for %d, of %d copies", len(w), cap(w), copies)
	}
	for range 50 {
		now = now.Add(measureEvery)
		w.add(now, 49, nil)
	}
	if len(w) != 1 || w[0].at != now {
		t.Errorf("%+v is kept of a time in which nothing ended", w)
	}
}

func TestFiguresAreRounded(t *testing.T) {
	for in, want := range map[float64]float64{0: 0, 0.04: 0, 0.05: 0.1, 12.34: 12.3, 99.94: 99.9, 99.96: 100, 100.4: 100, 1234.5: 1235} {
		if got := roundRate(in); got != want {
			t.Errorf("a rate of %v is shown as %v, want %v", in, got, want)
		}
	}
	for in, want := range map[time.Duration]time.Duration{
		0: 0, 1: 1, 999: 999, 1004: 1000, 1005: 1010, 9999: 10000, 99949: 99900, 99950: 100000,
		1_234_567 * time.Nanosecond: 1230 * time.Microsecond, 12_345 * time.Millisecond: 12_300 * time.Millisecond,
	} {
		if got := time.Duration(threeDigits(in)); got != want {
			t.Errorf("%v is shown as %v, want %v", in, got, want)
		}
	}
	for in, want := range map[int64]int64{0: 0, mebibyte/2 - 1: 0, mebibyte / 2: mebibyte, 5*mebibyte + 1: 5 * mebibyte} {
		if got := wholeMiB(in); got != want {
			t.Errorf("%d bytes are shown as %d, want %d", in, got, want)
		}
	}
	for want, in := range map[int][2]time.Duration{
		0: {-time.Second, time.Second}, 1: {10 * time.Millisecond, 2 * time.Second}, 50: {time.Second, 2 * time.Second}, 150: {3 * time.Second, 2 * time.Second},
	} {
		if got := percent(in[0], in[1]); got != want {
			t.Errorf("%v in %v are %d %%, want %d", in[0], in[1], got, want)
		}
	}
	if got := percent(time.Second, 0); got != 0 {
		t.Errorf("in no time: %d %%", got)
	}
}

// BenchmarkASecondOfFiftyIdlePages shows what an idle server pays: a
// millisecond an operation would be 0.1 % of a CPU.
func BenchmarkASecondOfFiftyIdlePages(b *testing.B) {
	store := state.NewStore(state.Server{})
	s := New(store)
	routes := make(map[string]*proxy.Route)
	for i := range 50 {
		route := fmt.Sprint("/", i)
		routes[route] = new(proxy.Route)
		store.Publish(state.Event{Page: &state.Page{Route: route, Workers: []state.Worker{{Role: state.RoleServing, PID: os.Getpid()}}}})
	}
	s.routes.Store(&routes)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		for range time.Second / measureEvery {
			now = now.Add(measureEvery)
			s.measure(now)
		}
	}
}
