package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEndpointsAnswerInJSON(t *testing.T) {
	t.Parallel()
	large := `{"name": "` + strings.Repeat("x", maxBody) + `"}`
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string // part of the body
	}{
		{"GET", "/api", "", 200, `"path": "/api/items/{id}"`},
		{"GET", "/api/", "", 200, `"path": "/api/items/{id}"`},
		{"HEAD", "/api", "", 200, ""},
		{"GET", "/health", "", 200, `"ok"`},
		{"GET", "/api/items", "", 200, `"name": "water"`},
		{"GET", "/api/items/1", "", 200, `"name": "water"`},
		{"GET", "/api/items/2", "", 404, `"error": "there is no item 2"`},
		{"GET", "/api/items/0", "", 404, `"error": "there is no item 0"`},
		{"GET", "/api/items/tea", "", 404, `"error": "there is no item tea"`},
		{"POST", "/api/items", "{", 400, `"error": "want JSON such as`},
		{"POST", "/api/items", `{"name": "a"} {}`, 400, `"error": "want JSON such as`},
		{"POST", "/api/items", `{"name": 1}`, 400, `"error": "want JSON such as`},
		{"POST", "/api/items", `{}`, 400, `"error": "want a name`},
		{"POST", "/api/items", "", 400, `"error": "want JSON such as`},
		{"POST", "/api/items", large, 413, `"error": "the body is larger than 65536 bytes"`},
		{"GET", "/api/slow?ms=0", "", 200, `"waited_ms": 0`},
		{"GET", "/api/slow?ms=-1", "", 400, `"error": "want ms from 0 to 20000"`},
		{"GET", "/api/slow?ms=20001", "", 400, `"error": "want ms from 0 to 20000"`},
		{"GET", "/api/slow?ms=9223372036854775807", "", 400, `"error": "want ms from 0 to 20000"`},
		{"GET", "/api/slow?ms=soon", "", 400, `"error": "want ms from 0 to 20000"`},
		{"GET", "/", "", 404, `"error": "there is nothing at /"`},
		{"GET", "/apis", "", 404, `"error": "there is nothing at /apis"`},
		{"POST", "/api/nothing", "", 404, `"error": "there is nothing at /api/nothing"`},
		{"DELETE", "/api/items", "", 405, `"error": "DELETE is not a method of /api/items"`},
		{"PUT", "/api/items/1", "", 405, `"error": "PUT is not a method of /api/items/1"`},
		{"POST", "/api", "", 405, `"error": "POST is not a method of /api"`},
	} {
		t.Run(fmt.Sprintf("%s %s %.20s", test.method, test.path, test.body), func(t *testing.T) {
			t.Parallel()
			page := newAPI("/api")
			do(page, "POST", "/api/items", `{"name": "water"}`)
			got := do(page, test.method, test.path, test.body)
			if got.Code != test.status || !strings.Contains(got.Body.String(), test.want) {
				t.Errorf("answer is %d %s; want %d %s", got.Code, got.Body, test.status, test.want)
			}
			if kind := got.Header().Get("Content-Type"); kind != "application/json" || !json.Valid(got.Body.Bytes()) {
				t.Errorf("answer is %s: %s", kind, got.Body)
			}
		})
	}
}

func TestAMethodThatIsNotAllowedIsToldWhatIs(t *testing.T) {
	t.Parallel()
	got := do(newAPI("/api"), "DELETE", "/api/items", "").Header().Get("Allow")
	if got != "GET, HEAD, POST" {
		t.Errorf("Allow is %q", got)
	}
}

func TestTheAPIFollowsItsFolder(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ route, base, items string }{
		{"/", "/", "/items"},
		{"/v2/shop", "/v2/shop", "/v2/shop/items"},
	} {
		page := newAPI(test.route)
		if got := do(page, "GET", test.base, ""); got.Code != 200 || !strings.Contains(got.Body.String(), `"`+test.items+`"`) {
			t.Errorf("GET %s is %d %s", test.base, got.Code, got.Body)
		}
		got := do(page, "POST", test.items, `{"name": "tea"}`)
		if at := got.Header().Get("Location"); got.Code != 201 || at != test.items+"/1" {
			t.Errorf("POST %s is %d at %q", test.items, got.Code, at)
		}
		if got := do(page, "GET", "/api", ""); got.Code != 404 {
			t.Errorf("GET /api is %d under %s", got.Code, test.route)
		}
	}
}

func TestItemsAddedAtOnceAreAllKept(t *testing.T) {
	t.Parallel()
	page := newAPI("/api")
	const n = 100
	places := make([]string, n)
	var adding sync.WaitGroup
	for i := range n {
		adding.Go(func() {
			got := do(page, "POST", "/api/items", fmt.Sprintf(`{"name": "%d"}`, i))
			places[i] = got.Header().Get("Location")
			do(page, "GET", "/api/items", "")
		})
	}
	adding.Wait()
	for i, place := range places {
		if got := do(page, "GET", place, ""); !strings.Contains(got.Body.String(), fmt.Sprintf(`"name": "%d"`, i)) {
			t.Errorf("GET %s is %s; want item %d", place, got.Body, i)
		}
	}
}

func TestSlowWaitsAsLongAsItIsAsked(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]time.Duration{"": 2 * time.Second, "?ms=20000": 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			got := do(newAPI("/api"), "GET", "/api/slow"+query, "")
			if took := time.Since(begin); got.Code != 200 || took != want {
				t.Errorf("slow%s is %d after %v; want %v", query, got.Code, took, want)
			}
		})
	}
}

func TestSlowEndsWithItsRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		got := httptest.NewRecorder()
		newAPI("/api").ServeHTTP(got, httptest.NewRequestWithContext(ctx, "GET", "/api/slow", nil))
		if took := time.Since(begin); got.Code != 503 || took != time.Second {
			t.Errorf("answer is %d after %v", got.Code, took)
		}
	})
}

func do(page http.Handler, method, path, body string) *httptest.ResponseRecorder {
	got := httptest.NewRecorder()
	page.ServeHTTP(got, httptest.NewRequest(method, path, strings.NewReader(body)))
	if method == http.MethodHead {
		got.Body.Reset() // net/http does not send it
		got.Body.WriteString("null")
	}
	return got
}
