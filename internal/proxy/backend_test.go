package proxy

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func backends(addrs ...string) (all []*Backend) {
	for _, a := range addrs {
		all = append(all, NewBackend(a, BackendOptions{}))
	}
	return all
}

func TestNoRequestIsClaimedAfterDrainBegan(t *testing.T) {
	t.Parallel()
	for range 200 {
		b := NewBackend("", BackendOptions{})
		var began, returned atomic.Bool
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for {
					late := began.Load() // Close had returned before the claim began
					if !b.claim() {
						return
					}
					if late {
						t.Error("a request was claimed on a draining backend")
					}
					runtime.Gosched()
					if returned.Load() {
						t.Error("Drain returned with a request under way")
					}
					b.release()
				}
			})
		}
		runtime.Gosched()
		b.Close()
		began.Store(true)
		drained(t, b)
		returned.Store(true)
		all.Wait()
		if n := b.InFlight(); n != 0 {
			t.Fatalf("%d requests under way after the drain", n)
		}
	}
}

func TestDrainReturnsExactlyWhenTheLastRequestIsReleased(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		b, under, closed := NewBackend("", BackendOptions{}), 0, false
		rt.Repeat(map[string]func(*rapid.T){
			"claim": func(rt *rapid.T) {
				if got := b.claim(); got == closed {
					rt.Fatalf("claim: %v, closed: %v", got, closed)
				}
				if !closed {
					under++
				}
			},
			"release": func(rt *rapid.T) {
				if under == 0 {
					rt.Skip("nothing to release")
				}
				b.release()
				under--
			},
			"drain": func(*rapid.T) { b.Close(); closed = true },
			"": func(rt *rapid.T) {
				select {
				case <-b.idle:
					if !closed || under > 0 {
						rt.Fatalf("drained with %d under way, closed: %v", under, closed)
					}
				default:
					if closed && under == 0 {
						rt.Fatal("not drained")
					}
				}
				if b.InFlight() != under {
					rt.Fatalf("%d under way, want %d", b.InFlight(), under)
				}
			},
		})
	})
}

func TestDrainWaitsAsLongAsItMayAndMayBeCalledAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBackend("", BackendOptions{})
		b.claim()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := b.Drain(ctx); err != context.DeadlineExceeded || time.Since(start) != 3*time.Second {
			t.Errorf("drain with a request under way: %v after %v", err, time.Since(start))
		}
		time.AfterFunc(time.Second, b.release)
		if err := b.Drain(t.Context()); err != nil || time.Since(start) != 4*time.Second {
			t.Errorf("drain again: %v after %v", err, time.Since(start))
		}
	})
}

func TestSpentIsClosedExactlyAtTheLastRequestAllowed(t *testing.T) {
	t.Parallel()
	b := NewBackend("", BackendOptions{MaxRequests: 5000})
	var before atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				select {
				case <-b.Spent():
				default:
					before.Add(1)
				}
				b.claim()
				b.release()
			}
		})
	}
	all.Wait()
	if n := before.Load(); n < 5000 { // more may begin while the one that spent it is about to say so
		t.Errorf("Spent was open for %d requests, want 5000", n)
	}
	<-b.Spent()
	if b.Requests() != 8000 {
		t.Errorf("%d requests, want 8000: a spent backend serves until it is replaced", b.Requests())
	}

	one := NewBackend("", BackendOptions{MaxRequests: 3})
	for n := 1; n <= 5; n++ {
		one.claim()
		select {
		case <-one.Spent():
			if n < 3 {
				t.Errorf("spent at request %d", n)
			}
		default:
			if n >= 3 {
				t.Errorf("not spent at request %d", n)
			}
		}
	}
}

func TestServeReturnsThoseThatServeNoMore(t *testing.T) {
	t.Parallel()
	all := backends("a", "b", "c")
	a, b, c := all[0], all[1], all[2]
	r := new(Route)
	for i, step := range []struct{ serve, retired []*Backend }{
		{serve: []*Backend{a}},
		{serve: []*Backend{a}},
		{serve: []*Backend{a, b}},
		{serve: []*Backend{b, c}, retired: []*Backend{a}},
		{serve: []*Backend{a, a}, retired: []*Backend{b, c}},
		{serve: []*Backend{a, a}},
		{serve: []*Backend{b}, retired: []*Backend{a}},
		{retired: []*Backend{b}},
	} {
		got := r.Serve(step.serve...)
		if diff := cmp.Diff(step.retired, got, cmp.Comparer(func(x, y *Backend) bool { return x == y })); diff != "" {
			t.Errorf("step %d, retired (-want +got):\n%s", i, diff)
		}
	}
}

func TestARequestPassesOverADrainingBackend(t *testing.T) {
	t.Parallel()
	all := backends("a", "b")
	r := new(Route)
	r.Serve(all...)
	all[0].Close()
	if b, _, _ := r.claim(new(attempts)); b != all[1] {
		t.Errorf("claimed %v, want the second", b)
	}
	all[1].Close()
	if b, refusal, wait := r.claim(new(attempts)); b != nil || refusal != nil || wait == nil {
		t.Error("with both draining a request waits")
	}
}
