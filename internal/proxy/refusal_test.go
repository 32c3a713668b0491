package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"tqserver/internal/policy"
)

func TestTheFormOfAResponseIsWhatTheClientPrefers(t *testing.T) {
	t.Parallel()
	const html, problem, text = "text/html", "application/problem+json", "text/plain"
	for accept, want := range map[string]string{
		"":    text,
		"*/*": text,
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8": html,
		"application/json":                           problem,
		"application/json, text/plain, */*":          problem,
		"application/problem+json":                   problem,
		"application/*":                              problem,
		"text/html;q=0.4, application/json;q=.5":     problem,
		"text/html;q=0, */*;q=0.1":                   text,
		"application/json;Q=0.1,text/html;q=0.2":     html,
		"application/json; seq=0, text/html":         problem,
		"application/json; seq=2;q=0.1":              problem,
		"text/html ; q=0.9 , application/json;q=0.8": html,
		"TEXT/HTML":                     html,
		"image/png":                     text,
		"text/html;q=NaN,;;;==,q=q=q=1": text,
	} {
		if got := preferredForm(accept); got != want {
			t.Errorf("preferred(%q) = %s, want %s", accept, got, want)
		}
	}
}

func FuzzPreferred(f *testing.F) {
	f.Add("text/html;q=0.3,*/*")
	f.Add(";q=,;;,q=1e999")
	f.Fuzz(func(t *testing.T, accept string) {
		switch got := preferredForm(accept); got {
		case "text/html", "application/problem+json", "text/plain":
		default:
			t.Errorf("preferred(%q) = %q", accept, got)
		}
	})
}

func FuzzRequestID(f *testing.F) {
	f.Add("abc-1")
	f.Add("a b")
	f.Add("a\r\nSet-Cookie: x")
	f.Add(strings.Repeat("x", 129))
	f.Fuzz(func(t *testing.T, sent string) {
		id := requestID([]string{sent})
		if id == "" || len(id) > 128 || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
			t.Errorf("requestID(%q) = %q", sent, id)
		}
		if sane := sent != "" && len(sent) <= 128 && !strings.ContainsFunc(sent, func(c rune) bool { return c <= ' ' || c > '~' }); sane != (id == sent) {
			t.Errorf("requestID(%q) = %q", sent, id)
		}
	})
}

func TestARefusalHasAHeaderABodyAndAName(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Refuse(policy.Refusal{Status: 503, Title: "This page <is> out of order", Detail: "Try \"later\" & again.", RetryAt: time.Now().Add(time.Minute)})
	for accept, want := range map[string][]string{
		"text/html":        {"text/html; charset=utf-8", "<h1>This page &lt;is&gt; out of order</h1>", "Request my-id"},
		"application/json": {"application/problem+json", `"status":503`, `"request_id":"my-id"`},
		"*/*":              {"text/plain; charset=utf-8", "503 This page <is> out of order\nTry \"later\" & again.\n", ""},
	} {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			req, _ := http.NewRequest(method, f.URL, nil)
			req.Header.Set("Accept", accept)
			req.Header.Set("X-Request-Id", "my-id")
			resp, err := f.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			resp.Write(&text)
			resp.Body.Close()
			mustStatus(t, resp, 503)
			body := text.String()[strings.Index(text.String(), "\r\n\r\n")+4:]
			if (method == "HEAD") != (body == "") {
				t.Errorf("%s %s: body %q", method, accept, body)
			}
			for _, part := range want[1:] {
				if method != "HEAD" && !strings.Contains(body, part) {
					t.Errorf("%s: no %q in %q", accept, part, body)
				}
			}
			if n, _ := strconv.Atoi(resp.Header.Get("Content-Length")); n == 0 || method != "HEAD" && n != len(body) {
				t.Errorf("%s %s: Content-Length %q of %d bytes", method, accept, resp.Header.Get("Content-Length"), len(body))
			}
			for name, value := range map[string]string{"Content-Type": want[0], "Cache-Control": "no-store", "X-Request-Id": "my-id", "Retry-After": "60"} {
				if got := resp.Header.Get(name); got != value {
					t.Errorf("%s %s: %s: %q, want %q", method, accept, name, got, value)
				}
			}
			var problem map[string]any
			if method == "GET" && accept == "application/json" && (json.Unmarshal([]byte(body), &problem) != nil || problem["detail"] != "Try \"later\" & again.") {
				t.Errorf("problem: %q", body)
			}
		}
	}
}

func TestARefusalWithoutDetailHasNoEmptyPlaceForIt(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Refuse(policy.Refusal{Status: 503, Title: "Full"})
	for accept, unwanted := range map[string]string{"text/html": "<p>", "application/json": "detail", "*/*": "\n\n"} {
		req, _ := http.NewRequest("GET", f.URL, nil)
		req.Header.Set("Accept", accept)
		resp, err := f.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(body), "Full") || strings.Contains(string(body), unwanted) {
			t.Errorf("%s: %q, %v", accept, body, err)
		}
	}
}

func TestEveryResponseOfTheServerHasAnIDAndIsNotStored(t *testing.T) {
	t.Parallel()
	s := generous
	s.WriteTimeout, s.HoldTimeout = 100*time.Millisecond, 100*time.Millisecond
	f := newFront(t, s)
	worker := newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			<-r.Context().Done()
		case "/hinting":
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			panic(http.ErrAbortHandler)
		default:
			panic(http.ErrAbortHandler)
		}
	})
	for _, tt := range []struct {
		path   string
		status int
		state  func()
	}{
		{"/nobody", 404, f.route.Hold},
		{"/held", 503, f.route.Hold},
		{"/refused", 418, func() { f.route.Refuse(policy.Refusal{Status: 418, Title: "No"}) }},
		{"/dies", 502, func() { f.route.Serve(worker) }},
		{"/hinting", 502, func() { f.route.Serve(worker) }},
		{"/silent", 504, func() { f.route.Serve(worker) }},
	} {
		tt.state()
		for sent, kept := range map[string]bool{"": false, "sane-1": true, "in sane": false, strings.Repeat("x", 200): false} {
			req, _ := http.NewRequest("GET", f.URL+tt.path, nil)
			req.Header.Set("X-Request-Id", sent)
			resp, err := f.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			mustStatus(t, resp, tt.status)
			ids := resp.Header.Values("X-Request-Id")
			if len(ids) != 1 || ids[0] == "" || kept != (ids[0] == sent) {
				t.Errorf("%s, sent %q: X-Request-ID %q", tt.path, sent, ids)
			}
			if got := resp.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("%s: Cache-Control %q", tt.path, got)
			}
		}
	}
}

func TestAResponseOfTheServerSaysNothingOfItsInside(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	b := newWorker(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	f.route.Serve(b)
	for _, accept := range []string{"text/html", "application/json", "*/*"} {
		req := httptest.NewRequest("POST", "/x", nil)
		req.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		f.proxy.ServeHTTP(w, req)
		id := w.Header().Get("X-Request-Id") // may happen to hold one of the words
		told := strings.ReplaceAll(w.Body.String(), id, "")
		for _, secret := range []string{b.Addr, "127.0.0.1", "EOF", "goroutine", ".go", "/x", "net/http"} {
			if w.Code != 502 || id == "" || strings.Contains(told, secret) {
				t.Errorf("%d %q tells of %q", w.Code, told, secret)
			}
		}
	}
}
