package router

import (
	"fmt"
	"strings"
	"testing"
)

func TestMatchTakesTheLongestRouteOnWholeSegments(t *testing.T) {
	t.Parallel()
	table := tableOf("/", "/api", "/api/v1/users", "/b")
	for path, want := range map[string]string{
		"/":                  "/",
		"":                   "/",
		"*":                  "/",
		"//":                 "/",
		"//x":                "/",
		"//api":              "/",
		"api":                "/",
		"/apix":              "/",
		"/ap":                "/",
		"/API":               "/",
		"/api":               "/api",
		"/api/":              "/api",
		"/api//":             "/api",
		"/api/x":             "/api",
		"/api/v1":            "/api",
		"/api/v1/user":       "/api",
		"/api/v1/users":      "/api/v1/users",
		"/api/v1/users/":     "/api/v1/users",
		"/api/v1/users/7/on": "/api/v1/users",
		"/b/api":             "/b",
		"/b?x":               "/",
	} {
		if got, ok := table.Match(path); got != want || !ok {
			t.Errorf("Match(%q) = %q, %v; want %q", path, got, ok, want)
		}
	}
}

func TestMatchWithoutARootRouteMayFindNothing(t *testing.T) {
	t.Parallel()
	table := tableOf("/a/b")
	for _, path := range []string{"/", "", "*", "/a", "/a/", "/a/bc", "/b"} {
		if got, ok := table.Match(path); ok {
			t.Errorf("Match(%q) = %q; want nothing", path, got)
		}
	}
	if got, ok := NewTable[string](nil).Match("/"); ok {
		t.Errorf("the empty table matches %q", got)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table := tableOf("/", "/api", "/api/v1/users")
	long := "/api/v1/users/" + strings.Repeat("x/", 1000)
	for _, path := range []string{"/", "/api/x", "/nothing/here", long} {
		if n := testing.AllocsPerRun(100, func() { table.Match(path) }); n != 0 {
			t.Errorf("Match(%.20q) allocates %v times", path, n)
		}
	}
}

func FuzzMatchAgreesWithTheRule(f *testing.F) {
	f.Add("/ /api /api/v1", "/api/v1/x")
	f.Add("/a /a/b/c", "/a/b/")
	f.Add("/x", "//x")
	f.Fuzz(func(t *testing.T, list, path string) {
		var routes []string
		for _, route := range strings.Fields(list) {
			if route == "/" || strings.HasPrefix(route, "/") && !strings.HasSuffix(route, "/") {
				routes = append(routes, route)
			}
		}
		got, ok := tableOf(routes...).Match(path)
		if want, found := longestMatch(routes, path); got != want || ok != found {
			t.Errorf("Match(%q) in %q = %q, %v; want %q, %v", path, routes, got, ok, want, found)
		}
	})
}

// longestMatch says the same as Match in as few words as possible.
func longestMatch(routes []string, path string) (best string, ok bool) {
	for _, route := range routes {
		under := route == "/" || path == route || strings.HasPrefix(path, route+"/")
		if under && len(route) > len(best) {
			best, ok = route, true
		}
	}
	return best, ok
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		routes := []string{"/"}
		for i := range n {
			routes = append(routes, fmt.Sprintf("/a/b%d/c", i))
		}
		table := tableOf(routes...)
		for name, path := range map[string]string{
			"root":  "/",
			"deep":  "/a/b7/c/and/what/follows",
			"miss":  "/" + strings.Repeat("nothing", 1000),
			"after": "/a/b7/c/" + strings.Repeat("x/", 1000),
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					table.Match(path)
				}
			})
		}
	}
}

func tableOf(routes ...string) *Table[string] {
	values := make(map[string]string)
	for _, route := range routes {
		values[route] = route
	}
	return NewTable(values)
}
