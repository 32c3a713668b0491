package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tqserver/internal/router"
)

// manyRoutes returns a table of n routes, each with a backend, and a path for
// one of them that has depth segments.
func manyRoutes(n, depth int) (*router.Table[*Route], string) {
	routes := make(map[string]*Route, n)
	name := func(i int) string {
		return fmt.Sprintf("%s/page%d", strings.Repeat("/part", depth-1), i)
	}
	for i := range n {
		r := &Route{Name: name(i)}
		r.Serve(NewBackend("127.0.0.1:0", BackendOptions{}))
		routes[r.Name] = r
	}
	return router.NewTable(routes), name(n / 2)
}

func matchAndClaim(tb testing.TB, table *router.Table[*Route], path string) {
	r, ok := table.Match(path)
	if !ok {
		tb.Fatal("no route")
	}
	b, _, _ := r.claim()
	if b == nil {
		tb.Fatal("no backend")
	}
	b.release()
}

func TestToMatchAndToClaimAllocateNothing(t *testing.T) {
	for _, n := range []int{1, 100, 10_000} {
		for _, depth := range []int{1, 8} {
			table, path := manyRoutes(n, depth)
			if allocated := testing.AllocsPerRun(1000, func() { matchAndClaim(t, table, path) }); allocated > 0 {
				t.Errorf("%d routes of %d segments: %v allocations", n, depth, allocated)
			}
		}
	}
}

func BenchmarkMatchAndClaim(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		for _, depth := range []int{1, 2, 4, 8} {
			table, path := manyRoutes(n, depth)
			b.Run(fmt.Sprintf("routes=%d/depth=%d", n, depth), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					matchAndClaim(b, table, path)
				}
			})
		}
	}
}

// nobody is a client who reads nothing.
type nobody struct{ header http.Header }

func (n nobody) Header() http.Header         { return n.header }
func (n nobody) WriteHeader(int)             {}
func (n nobody) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkForward(b *testing.B) {
	answer := make([]byte, 100<<10)
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(answer[:map[string]int{"/": 13, "/large": len(answer)}[r.URL.Path]])
	}))
	defer worker.Close()
	route := &Route{Name: "/"}
	route.Serve(NewBackend(worker.Listener.Addr().String(), BackendOptions{}))
	front := New(Settings{})
	front.Match(func(string) (*Route, bool) { return route, true })
	for name, request := range map[string]func() *http.Request{
		"small": func() *http.Request { return httptest.NewRequest(http.MethodGet, "/", nil) },
		"large": func() *http.Request { return httptest.NewRequest(http.MethodGet, "/large", nil) },
		"post": func() *http.Request {
			return httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 10<<10)))
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				front.ServeHTTP(nobody{make(http.Header)}, request())
			}
		})
	}
}
