package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tqserver/internal/accesslog"
)

// recorded has a front's exchanges sent to a channel.
func recorded(f *front) chan accesslog.Record {
	records := make(chan accesslog.Record, 100)
	f.route.Name = "/page"
	f.proxy.SetRecord(func(r accesslog.Record) { records <- r })
	return records
}

func TestEveryExchangeIsRecordedOnce(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	records := recorded(f)
	worker := newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hints":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, "tea")
		case "/cut":
			w.Header().Set("Content-Length", "200000")
			w.Write(make([]byte, 100_000))
			panic(http.ErrAbortHandler)
		default:
			w.Write(make([]byte, 100_000))
		}
	})
	f.route.Serve(worker)
	f.setPolicies(t, "access_log: {format: json}\npaths: {/a: {access_log: {format: common}}}", nil)
	for _, want := range []accesslog.Record{
		{Method: "GET", Target: "/a?b=%63", Status: 200, Bytes: 100_000, Route: "/page", Upstream: worker.Addr},
		{Method: "HEAD", Target: "/a", Status: 200, Route: "/page", Upstream: worker.Addr},
		{Method: "GET", Target: "/hints", Status: 418, Bytes: 3, Route: "/page", Upstream: worker.Addr},
		{Method: "GET", Target: "/cut", Status: 200, Bytes: 100_000, Route: "/page", Upstream: worker.Addr},
		{Method: "GET", Target: "/nobody", Status: 404},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), want.Method, f.URL+want.Target, nil)
		req.Header.Set("Referer", "http://from/")
		req.Header.Set("User-Agent", "test")
		req.Header.Set("X-Request-Id", "the-id")
		resp, err := f.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		want.TraceID = traceOf(resp.Header.Get("Traceparent"))
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		want.Settings = &accesslog.Settings{Format: "json"}
		if strings.HasPrefix(want.Target, "/a") {
			want.Settings.Format = "common"
		}
		if want.Status == 404 {
			want.Bytes = int64(len(body))
		}
		want.Client, want.Proto, want.Host, want.Referer, want.UserAgent, want.RequestID = "127.0.0.1", "HTTP/1.1", f.addr(), "http://from/", "test", "the-id"
		got := within(t, testTimeout, "it is recorded", records)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(accesslog.Record{}, "Time", "Took"), cmpopts.IgnoreFields(accesslog.Settings{}, "File")); diff != "" || got.Took <= 0 || time.Since(got.Time) > testTimeout {
			t.Errorf("took %v (-want +got):\n%s", got.Took, diff)
		}
	}
	if len(records) > 0 {
		t.Errorf("recorded again: %+v", <-records)
	}
}

func TestAClientThatLeftBeforeTheResponseHasNoStatus(t *testing.T) {
	t.Parallel()
	for _, held := range []bool{true, false} {
		f := newFront(t, generous)
		records := recorded(f)
		arrived := make(chan struct{}, 1)
		if !held {
			f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				<-r.Context().Done()
			}))
		}
		ctx, leave := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", f.URL+"/", nil)
		left := make(chan struct{})
		go func() { // ends when the client leaves
			defer close(left)
			if resp, err := f.Client().Do(req); err == nil {
				resp.Body.Close()
			}
		}()
		if held {
			for f.route.Held() == 0 {
				<-time.After(time.Millisecond)
			}
		} else {
			within(t, testTimeout, "the request arrives", arrived)
		}
		leave()
		within(t, testTimeout, "the client leaves", left)
		if got := within(t, testTimeout, "it is recorded", records); got.Status != 0 || got.Bytes != 0 {
			t.Errorf("held %v: %+v", held, got)
		}
	}
}

func TestAnUpgradeIsRecordedWithTheBytesThatTheClientGot(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	records := recorded(f)
	f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(c, r)
	}))
	c, err := net.Dial("tcp", f.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(testTimeout))
	fmt.Fprint(c, "GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(c)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	sent := strings.Repeat("x", 1234)
	fmt.Fprint(c, sent)
	if _, err := io.ReadFull(r, make([]byte, len(sent))); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, r)
	if got := within(t, testTimeout, "it is recorded", records); got.Status != 101 || got.Bytes != 1234 || got.Route != "/page" {
		t.Errorf("%+v", got)
	}
}
