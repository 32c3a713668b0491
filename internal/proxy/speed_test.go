package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"tqserver/internal/balance"
)

// manyRoutes returns a proxy with n routes, each with a backend, and a path for one of
// them that has depth segments.
func manyRoutes(n, depth int) (p *Proxy, path string) {
	routes := make(map[string]*Route, n)
	name := func(i int) string {
		return fmt.Sprintf("%s/page%d", strings.Repeat("/part", depth-1), i)
	}
	for i := range n {
		r := &Route{Name: name(i)}
		r.Serve(NewBackend("127.0.0.1:0", BackendOptions{}))
		routes[r.Name] = r
	}
	p = New(Settings{})
	p.SetRoutes(routes)
	return p, name(n / 2)
}

// matchAndClaim takes the way to a backend, with attempts as exchanges have them.
func matchAndClaim(tb testing.TB, p *Proxy, path string, a *attempts) {
	entry, ok := p.paths.Load().Match(path)
	if !ok || entry.route == nil {
		tb.Fatal("no route")
	}
	b, _, _ := entry.route.claim(a)
	if b == nil {
		tb.Fatal("no backend")
	}
	b.release()
}

func TestToMatchAndToClaimAllocateNothing(t *testing.T) {
	for _, n := range []int{1, 100, 10_000} {
		for _, depth := range []int{1, 8} {
			p, path := manyRoutes(n, depth)
			a := new(attempts)
			if allocated := testing.AllocsPerRun(1000, func() { matchAndClaim(t, p, path, a) }); allocated > 0 {
				t.Errorf("%d routes of %d segments: %v allocations", n, depth, allocated)
			}
		}
	}
}

// manyBackends returns a route with n backends.
func manyBackends(n int) *Route {
	r, all := &Route{Name: "/"}, make([]*Backend, n)
	for i := range all {
		all[i] = NewBackend("127.0.0.1:0", BackendOptions{Seat: i})
	}
	r.SetBalance(Balance{EjectFailures: 5, EjectTime: 10 * time.Second})
	r.Serve(all...)
	return r
}

func claimAndRelease(tb testing.TB, r *Route, a *attempts) {
	b, _, _ := r.claim(a)
	if b == nil {
		tb.Fatal("no backend")
	}
	a.end = goodEnd
	r.ended(b, a)
	b.release()
}

func TestAClaimAllocatesNothingHoweverManyBackendsThereAre(t *testing.T) {
	for _, n := range []int{1, 4, balance.Most} {
		r, a := manyBackends(n), new(attempts)
		if allocated := testing.AllocsPerRun(1000, func() { claimAndRelease(t, r, a) }); allocated > 0 {
			t.Errorf("%d backends: %v allocations", n, allocated)
		}
	}
}

func BenchmarkClaim(b *testing.B) {
	for _, n := range []int{1, 4, balance.Most} {
		r := manyBackends(n)
		b.Run(fmt.Sprintf("backends=%d", n), func(b *testing.B) {
			a := new(attempts)
			b.ReportAllocs()
			for b.Loop() {
				claimAndRelease(b, r, a)
			}
		})
	}
}

func BenchmarkMatchAndClaim(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		for _, depth := range []int{1, 2, 4, 8} {
			p, path := manyRoutes(n, depth)
			b.Run(fmt.Sprintf("routes=%d/depth=%d", n, depth), func(b *testing.B) {
				b.ReportAllocs()
				a := new(attempts)
				for b.Loop() {
					matchAndClaim(b, p, path, a)
				}
			})
		}
	}
}

// BenchmarkForward sends requests on one connection. Almost all that is allocated
// is the server's.
func BenchmarkForward(b *testing.B) {
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
	small := fmt.Appendf(nil, head, 13, "hello, world\n")
	large := fmt.Appendf(nil, head, 100<<10, strings.Repeat("x", 100<<10))
	f := newFront(b, generous)
	f.route.Serve(newRawWorker(b, func(_ int, c net.Conn, r *bufio.Reader) {
		c.SetDeadline(time.Time{})
		for {
			path, err := skim(r)
			if err != nil {
				return
			}
			if path == 'l' {
				c.Write(large)
			} else {
				c.Write(small)
			}
		}
	}))
	for name, send := range map[string]string{
		"small": "GET /small HTTP/1.1\r\nHost: page\r\n\r\n",
		"large": "GET /large HTTP/1.1\r\nHost: page\r\n\r\n",
		"post":  fmt.Sprintf("POST /post HTTP/1.1\r\nHost: page\r\nContent-Length: %d\r\n\r\n%s", 10<<10, strings.Repeat("x", 10<<10)),
	} {
		b.Run(name, func(b *testing.B) {
			c, r := dial(b, f.addr(), "")
			c.SetDeadline(time.Time{})
			message := []byte(send)
			b.ReportAllocs()
			for b.Loop() {
				c.Write(message)
				if _, err := skim(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// skim reads a message that says its length, or has no body, and returns what the
// path of a request begins with.
func skim(r *bufio.Reader) (path byte, err error) {
	for first, length := true, 0; ; first = false {
		line, err := r.ReadSlice('\n')
		switch value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); {
		case err != nil:
			return 0, err
		case first:
			_, after, _ := bytes.Cut(line, []byte("/"))
			path = after[0]
		case found:
			for _, digit := range bytes.TrimSpace(value) {
				length = 10*length + int(digit-'0')
			}
		case len(line) == len("\r\n"):
			_, err := r.Discard(length)
			return path, err
		}
	}
}
