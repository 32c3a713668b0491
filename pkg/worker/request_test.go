package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// served returns StartServer's handler.
func served(t testing.TB, next http.HandlerFunc) http.Handler {
	t.Helper()
	s := newService(&Runtime{}, next)
	t.Cleanup(s.close)
	return s.withRequests(next)
}

// This test is not parallel: it changes slog.Default.
func TestTheLinesOfARequestCarryItsNames(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	handler := served(t, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Hour) // contexts that a handler derives count too
		defer cancel()
		w.Write([]byte(RequestID(ctx)))
		Logger(ctx).Info("hello", "n", 1)
	})
	for _, tt := range []struct {
		id, trace string
		want      map[string]any
	}{
		{"mine", traceparent, map[string]any{"request_id": "mine", "trace_id": traceparent[3:35], "span_id": traceparent[36:52]}},
		{"mine", "", map[string]any{"request_id": "mine"}},
		{"mine", "00-short-01", map[string]any{"request_id": "mine"}},
		{"mine", strings.ReplaceAll(traceparent, "-", "_"), map[string]any{"request_id": "mine"}},
		{"", traceparent, map[string]any{"trace_id": traceparent[3:35], "span_id": traceparent[36:52]}},
		{"", "", map[string]any{}},
	} {
		var out bytes.Buffer
		slog.SetDefault(slog.New(slog.NewJSONHandler(&out, nil))) // after StartServer, as a page may
		r := httptest.NewRequest("GET", "/", nil)
		for name, value := range map[string]string{"X-Request-ID": tt.id, "traceparent": tt.trace} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Body.String() != tt.id {
			t.Errorf("RequestID is %q, want %q", w.Body, tt.id)
		}
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatalf("%v: %q", err, &out)
		}
		delete(line, "time")
		tt.want["level"], tt.want["msg"], tt.want["n"] = "INFO", "hello", 1.0
		if diff := cmp.Diff(tt.want, line); diff != "" {
			t.Errorf("line (-want +got):\n%s", diff)
		}
	}
}

func TestOutsideARequestThereIsNoNameAndTheDefaultLogger(t *testing.T) {
	for _, ctx := range []context.Context{t.Context(), httptest.NewRequest("GET", "/", nil).Context()} {
		if RequestID(ctx) != "" || Logger(ctx) != slog.Default() {
			t.Errorf("RequestID is %q, Logger %v", RequestID(ctx), Logger(ctx))
		}
	}
}

func TestTheContextOfARequestIsStillItsOwn(t *testing.T) {
	t.Parallel()
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "above"))
	handler := served(t, func(w http.ResponseWriter, r *http.Request) {
		derived, end := context.WithCancel(r.Context())
		defer end()
		if got := r.Context().Value(key{}); got != "above" {
			t.Errorf("the context above holds %v", got)
		}
		cancel()
		<-derived.Done()
		if r.Context().Err() != context.Canceled {
			t.Errorf("it ended with %v", r.Context().Err())
		}
	})
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	r.Header.Set("X-Request-Id", "mine")
	handler.ServeHTTP(httptest.NewRecorder(), r)
}

func TestTheFilesOfAFormAreRemoved(t *testing.T) {
	t.Parallel()
	files := make(chan string, 1)
	srv := httptest.NewServer(served(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(0); err != nil {
			t.Error(err)
			return
		}
		f, err := r.MultipartForm.File["a"][0].Open()
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		files <- f.(*os.File).Name()
	}))
	defer srv.Close()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, _ := form.CreateFormFile("a", "a")
	part.Write(make([]byte, 11<<20)) // net/http keeps 10 MiB in memory in any case
	form.Close()
	r, _ := http.NewRequest("POST", srv.URL, &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("X-Request-Id", "mine")
	resp, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	srv.Close() // waits for what net/http does after the response
	file := <-files
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		os.Remove(file)
		t.Errorf("%s is left: %v", file, err)
	}
}

func TestNamingARequestAllocatesOnce(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	if n := testing.AllocsPerRun(100, func() { addRequestContext(r) }); n != 0 {
		t.Errorf("%v allocations for a request without a name", n)
	}
	r.Header.Set("X-Request-Id", "mine")
	r.Header.Set("Traceparent", traceparent)
	plain := r.Context()
	if n := testing.AllocsPerRun(100, func() { *r = *r.WithContext(plain); addRequestContext(r) }); n > 1 {
		t.Errorf("%v allocations for a request with one", n)
	}
}
