package proxy

import (
	"io"
	"net/http"
	"testing"
	"time"

	"tqserver/internal/policy"
)

func TestAGateRefusesBeforeAFileOrAPageAnswers(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	records := recorded(f)
	f.limitBodies(t, "/", 4)
	f.route.Serve(newWorker(t, say("page")))
	f.proxy.SetFiles(func(r *http.Request) (http.Handler, bool) {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "file") }), r.URL.Path == "/file"
	})
	for request, want := range map[string]int{
		"GET /file HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n": 413,
		"GET /page HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n": 413,
		"GET /file HTTP/1.1\r\nHost: x\r\n\r\n":                      200,
		"GET /page HTTP/1.1\r\nHost: x\r\n\r\n":                      200,
	} {
		resp, _ := exchangeRaw(t, f.addr(), request)
		if got := within(t, testTimeout, "it is recorded", records); resp.StatusCode != want || got.Status != want || got.Route != "/page" {
			t.Errorf("%q: status %d, want %d; recorded: %+v", request, resp.StatusCode, want, got)
		}
	}
}

func TestARefusalHasItsFields(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Refuse(policy.Refusal{
		Status: http.StatusTooManyRequests, Title: "Slow down", RetryAt: time.Now().Add(time.Minute),
		Header: http.Header{"Ratelimit-Limit": {"100"}, "Www-Authenticate": {"Basic", "Bearer"}, "Cache-Control": {"private"}},
	})
	for range 2 { // it belongs to no single response
		resp, _ := do(t, f.Client(), http.MethodGet, f.URL, "")
		mustStatus(t, resp, http.StatusTooManyRequests)
		if h := resp.Header; h.Get("Ratelimit-Limit") != "100" || len(h["Www-Authenticate"]) != 2 || h.Get("Cache-Control") != "private" || h.Get("Retry-After") == "" || h.Get("X-Request-Id") == "" {
			t.Errorf("%v", h)
		}
	}
}

func TestPoliciesAndRoutesOfOneRequestBelongTogether(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	page := func(path string) *Route {
		r := &Route{Name: path}
		r.Serve(newWorker(t, say(path)))
		return r
	}
	const long = "HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nlong\n"
	f.proxy.SetRoutes(map[string]*Route{"/": page("/"), "/shop/api": page("/shop/api"), "/shop-list": page("/shop-list")})
	f.setPolicies(t, "paths: {/shop: {max_body_bytes: 4}, /shop/api/files: {max_body_bytes: 9}}", nil)
	for path, want := range map[string]struct {
		status int
		page   string
	}{
		"/shop":             {413, ""},
		"/shop/x":           {413, ""},
		"/shop/api":         {413, ""},
		"/shop/api/x":       {413, ""},
		"/shop/api/files/x": {200, "/shop/api"},
		"/shop-list":        {200, "/shop-list"},
		"/shopping":         {200, "/"},
	} {
		resp, body := exchangeRaw(t, f.addr(), "POST "+path+" "+long)
		if resp.StatusCode != want.status || want.status == 200 && body != want.page {
			t.Errorf("%s: status %d, %q", path, resp.StatusCode, body)
		}
	}
}

func TestAMalformedRequestIsLoggedAndBelongsToNoPage(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	records := recorded(f)
	f.setPolicies(t, "access_log: {format: json}", nil)
	f.route.Serve(newWorker(t, say("page")))
	resp, _ := exchangeRaw(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n")
	mustStatus(t, resp, http.StatusBadRequest)
	got := within(t, testTimeout, "it is recorded", records)
	if got.Status != http.StatusBadRequest || got.Route != "" || got.Settings == nil || got.Settings.Format != "json" {
		t.Errorf("recorded: %+v", got)
	}
	if traffic := f.route.Traffic(); traffic.Requests != 0 {
		t.Errorf("counted: %+v", traffic)
	}
}
