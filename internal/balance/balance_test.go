package balance

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"tqserver/internal/secret"
)

// fake is a worker in a seat with some requests.
type fake struct{ seat, inFlight int }

func (f *fake) Seat() int     { return f.seat }
func (f *fake) InFlight() int { return f.inFlight }

func workersIn(seats ...int) (all []Worker) {
	for _, seat := range seats {
		all = append(all, &fake{seat: seat})
	}
	return all
}

// row returns workers in the first n seats.
func row(n int) []Worker {
	seats := make([]int, n)
	for i := range seats {
		seats[i] = i
	}
	return workersIn(seats...)
}

func from(client string) *Request {
	r := &Request{HTTP: &http.Request{Header: make(http.Header)}}
	r.Client, _ = netip.ParseAddr(client)
	return r
}

func anyClient() *Request {
	return from(netip.AddrFrom4([4]byte{10, byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32())}).String())
}

var key = secret.Key{1, 2, 3}

func newPolicy(name string) Policy {
	p, _ := New(name, Options{Route: "/shop", Key: key})
	return p
}

func TestEveryPolicyChoosesOnlyWhatIsOpen(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		p := newPolicy(name)
		for n := 1; n <= Most; n++ {
			workers := row(n)
			for range 50 {
				for _, w := range workers {
					w.(*fake).inFlight = rand.IntN(3)
				}
				open := Set(rand.Uint64()) & First(n)
				if open == 0 {
					open = First(n)
				}
				if i := p.Choose(anyClient(), workers, open); !open.Has(i) {
					t.Fatalf("%s chose %d of %b", name, i, open)
				}
			}
		}
	}
}

func TestEveryPolicyUsesAllWorkers(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		p := newPolicy(name)
		for _, n := range []int{1, 2, 3, 5, Most} {
			workers, counts := row(n), make([]int, n)
			const each = 1000
			for range n * each {
				counts[p.Choose(anyClient(), workers, First(n))]++
			}
			for i, count := range counts {
				if count < each*3/4 || count > each*5/4 {
					t.Errorf("%s: worker %d of %d got %d requests, want about %d", name, i, n, count, each)
				}
			}
		}
	}
}

func TestAChoiceAllocatesNothing(t *testing.T) {
	for _, name := range Names() {
		p := newPolicy(name)
		for _, n := range []int{1, 4, Most} {
			workers, r := row(n), from("192.0.2.1")
			p.Choose(r, workers, First(n))
			r.HTTP.Header.Set("Cookie", "a=b; "+strings.Split(r.SetCookie, ";")[0])
			if allocated := testing.AllocsPerRun(1000, func() { p.Choose(r, workers, First(n)) }); allocated > 0 {
				t.Errorf("%s of %d: %v allocations", name, n, allocated)
			}
		}
	}
}

func TestLeastInFlightChoosesAWorkerWithTheFewestRequests(t *testing.T) {
	t.Parallel()
	p := newPolicy("least_in_flight")
	workers := row(5)
	for i, n := range []int{3, 1, 2, 1, 0} {
		workers[i].(*fake).inFlight = n
	}
	seen := make(map[int]bool)
	for range 200 {
		if i := p.Choose(anyClient(), workers, First(5)); i != 4 {
			t.Fatalf("chose %d", i)
		}
		seen[p.Choose(anyClient(), workers, First(4))] = true
	}
	if !seen[1] || !seen[3] || len(seen) != 2 {
		t.Errorf("without the fifth it chose %v, want the second and the fourth", seen)
	}
}

func TestRoundRobinIsEvenToOneRequest(t *testing.T) {
	t.Parallel()
	p := newPolicy("round_robin")
	counts := make([]int, 7)
	for n := range 1000 {
		counts[p.Choose(nil, row(7), First(7))]++
		for i, count := range counts {
			if count < (n+1)/7 || count > (n+1)/7+1 {
				t.Fatalf("after %d requests worker %d had %d", n+1, i, count)
			}
		}
	}
}

func TestRandomTwoIsEvenAndAvoidsTheBusiest(t *testing.T) {
	t.Parallel()
	p := newPolicy("random_two")
	workers, counts := row(4), make([]int, 4)
	for range 10_000 {
		counts[p.Choose(nil, workers, First(4))]++
	}
	for i, count := range counts {
		if count < 2250 || count > 2750 {
			t.Errorf("worker %d got %d of 10000", i, count)
		}
	}
	workers[2].(*fake).inFlight = 1
	for range 1000 {
		if p.Choose(nil, workers, First(4)) == 2 {
			t.Fatal("it chose the one that has most requests of all")
		}
	}
}

func TestAddressesKeepTheirSeatWhileOthersComeAndGo(t *testing.T) {
	t.Parallel()
	p := newPolicy("address")
	four := row(4)
	moved := 0
	for n := range 1000 {
		client := from(fmt.Sprintf("2001:db8::%x", n))
		seat := p.Choose(client, four, First(4))
		if again := p.Choose(client, four, First(4)); again != seat {
			t.Fatalf("%v: seat %d, then %d", client.Client, seat, again)
		}
		for absent := range 4 {
			instead := p.Choose(client, four, First(4).Without(absent))
			if absent != seat && instead != seat {
				t.Fatalf("%v moved from seat %d when %d went", client.Client, seat, absent)
			}
		}
		if p.Choose(client, workersIn(0, 1, 2, 3, 4), First(5)) != seat {
			moved++
		}
		// Seats count, not the order of those that are there.
		if seat == 3 && p.Choose(client, workersIn(1, 3), First(2)) != 1 {
			t.Fatalf("%v: not on seat 3, which is there", client.Client)
		}
	}
	if moved < 150 || moved > 250 {
		t.Errorf("%d of 1000 clients moved when a fifth seat came, want about 200", moved)
	}
}

func TestWithoutAnAddressClientsAreSpread(t *testing.T) {
	t.Parallel()
	seen := make(map[int]bool)
	for range 200 {
		seen[newPolicy("address").Choose(from(""), row(4), First(4))] = true
	}
	if len(seen) != 4 {
		t.Errorf("only on %v", seen)
	}
}

func TestACookieKeepsAClientOnItsSeat(t *testing.T) {
	t.Parallel()
	p := newPolicy("cookie")
	r := from("192.0.2.1")
	seat := p.Choose(r, row(4), First(4))
	pair, attributes, _ := strings.Cut(r.SetCookie, "; ")
	if attributes != "Path=/shop; HttpOnly; SameSite=Lax" {
		t.Errorf("attributes %q", attributes)
	}
	again := from("198.51.100.1")
	again.HTTP.Header["Cookie"] = []string{"a=b; c", "x=y;tq_worker=foreign; " + pair + ";z=1"}
	for range 100 {
		if got := p.Choose(again, row(4), First(4)); got != seat || again.SetCookie != "" {
			t.Fatalf("seat %d with %q, want %d", got, again.SetCookie, seat)
		}
	}
	if got := p.Choose(again, row(4), First(4).Without(seat)); got == seat || again.SetCookie == "" {
		t.Errorf("without the seat: %d with %q", got, again.SetCookie)
	}
	tls := from("192.0.2.1")
	tls.Secure = true
	if p.Choose(tls, row(4), First(4)); !strings.HasSuffix(tls.SetCookie, "; Secure") {
		t.Errorf("over TLS: %q", tls.SetCookie)
	}
	if restarted, _ := New("cookie", Options{"/shop", key}); restarted.Choose(again, row(4), First(4)) != seat {
		t.Error("not after a restart with the same key")
	}
}

func TestOtherCookiesCountAsNone(t *testing.T) {
	t.Parallel()
	p := newPolicy("cookie").(*cookie)
	value := func(opts Options, seat int) string { return newCookie(opts).(*cookie).values[seat] }
	mine := p.values[0]
	for name, text := range map[string]string{
		"empty":               "tq_worker=",
		"no value":            "tq_worker",
		"seat alone":          "tq_worker=0",
		"forged":              "tq_worker=0.AAAAAAAAAAAAAAAAAAAAAA",
		"of another seat":     "tq_worker=1" + mine[1:],
		"cut":                 "tq_worker=" + mine[:len(mine)-1],
		"longer":              "tq_worker=" + mine + "A",
		"overlong":            "tq_worker=" + mine + strings.Repeat("A", 60_000),
		"huge number":         "tq_worker=" + strings.Repeat("9", 1000) + mine[1:],
		"negative":            "tq_worker=-1" + mine[1:],
		"of another key":      "tq_worker=" + value(Options{"/shop", secret.Key{9}}, 0),
		"of another route":    "tq_worker=" + value(Options{"/", key}, 0),
		"of an absent seat":   "tq_worker=" + p.values[5],
		"by another name":     "TQ_Worker=" + mine,
		"quoted":              `tq_worker="` + mine + `"`,
		"many":                strings.Repeat("tq_worker=x; ", 1000),
		"of a seat not there": "tq_worker=64" + mine[1:],
	} {
		r := from("192.0.2.1")
		r.HTTP.Header.Set("Cookie", text)
		if p.Choose(r, row(4), First(4)); r.SetCookie == "" {
			t.Errorf("%s: it counted", name)
		}
	}
}

func TestOurCookieIsStripped(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"a=b; c=d":                      "a=b; c=d",
		"a=b;c=d":                       "a=b;c=d",
		"tq_worker=1.x":                 "",
		"a=b; tq_worker=1.x":            "a=b",
		"tq_worker=1.x;c=d":             "c=d",
		"a=b; tq_worker=1; tq_worker=2": "a=b",
		"a=tq_worker; tq_workers=1":     "a=tq_worker; tq_workers=1",
		"":                              "",
	} {
		if got := StripCookie(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, name := range Names() {
		for _, n := range []int{1, 4, Most} {
			b.Run(fmt.Sprintf("%s/workers=%d", name, n), func(b *testing.B) {
				p, workers, r := newPolicy(name), row(n), from("192.0.2.1")
				p.Choose(r, workers, First(n))
				r.HTTP.Header.Set("Cookie", strings.Split(r.SetCookie, ";")[0])
				for b.Loop() {
					p.Choose(r, workers, First(n))
				}
			})
		}
	}
}
