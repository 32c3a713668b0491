package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tqserver/internal/policy"
)

// withFile is a front where /file is a file, which no method but GET applies to.
func withFile(t *testing.T, s Settings, file http.HandlerFunc) *front {
	t.Helper()
	f := newFront(t, s)
	f.proxy.SetFiles(func(r *http.Request) (http.Handler, bool) {
		switch {
		case r.URL.Path != "/file" && r.URL.Path != "/nobody":
			return nil, false
		case r.Method != http.MethodGet:
			return nil, true
		}
		return file, true
	})
	return f
}

func TestAFileIsServedWhateverThePageDoes(t *testing.T) {
	t.Parallel()
	f := withFile(t, generous, say("file"))
	check := func(when, path, want string) {
		t.Helper()
		resp, text := do(t, f.Client(), http.MethodGet, f.URL+path, "")
		if text != want || resp.StatusCode != http.StatusOK || resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %d %q %v", when, resp.StatusCode, text, resp.Header)
		}
	}
	check("held", "/file", "file")
	check("without a page", "/nobody", "file")
	f.route.Refuse(policy.Refusal{Status: http.StatusServiceUnavailable})
	check("broken", "/file", "file")
	f.route.Serve(newWorker(t, say("worker")))
	check("served", "/file", "file")
	check("no file", "/other", "worker")
	eventually(t, "all but what has no page is counted", func() bool { return f.route.Traffic().Requests == 4 })
}

func TestAnotherMethodThanThoseOfFilesIsRefused(t *testing.T) {
	t.Parallel()
	f := withFile(t, generous, say("file"))
	f.route.Serve(newWorker(t, say("worker")))
	for _, path := range []string{"/file", "/nobody"} {
		resp, _ := do(t, f.Client(), http.MethodPost, f.URL+path, "body")
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" || resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
}

func TestTheBodyOfARequestForAFileIsNoRequest(t *testing.T) {
	t.Parallel()
	f := withFile(t, generous, say("file"))
	_, r := dial(t, f.addr(), "GET /file HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: xxxxx\r\n\r\n")
	all, err := io.ReadAll(r)
	if err != nil || strings.Count(string(all), "HTTP/1.1 ") != 1 || !strings.HasSuffix(string(all), "file") {
		t.Errorf("got %q, %v", all, err)
	}
}

func TestAClientThatStopsToReadAFileIsLeft(t *testing.T) {
	t.Parallel()
	s := generous
	s.WriteTimeout = 200 * time.Millisecond
	over := make(chan error, 1)
	f := withFile(t, s, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_, err := io.CopyN(w, endless{}, 1<<40)
		over <- err
	})
	c := dialNarrow(t, f.addr(), 4<<10)
	io.WriteString(c, "GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := within(t, testTimeout, "the file is given up", over); err == nil {
		t.Error("a terabyte was sent to nobody")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAFileThatMovesIsNotCut(t *testing.T) {
	t.Parallel()
	s := generous
	s.WriteTimeout = time.Second
	const size = 24 << 20
	name := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	f := withFile(t, s, func(w http.ResponseWriter, r *http.Request) {
		file, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		http.ServeContent(w, r, "", time.Time{}, file)
	})
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			c.(*net.TCPConn).SetReadBuffer(256 << 10) // or the kernel reads ahead for us, and then nothing for long
		}
		return c, err
	}}}
	defer client.CloseIdleConnections()
	inTime(t, func() error {
		resp, err := client.Get(f.URL + "/file")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		part := make([]byte, size/48)                 // no more is kept: to grow a buffer of all takes long enough to be cut
		tick := time.NewTicker(65 * time.Millisecond) // three times as long as it may stand still, in all
		defer tick.Stop()
		for got := 0; got < size; got += len(part) {
			<-tick.C
			if n, err := io.ReadFull(resp.Body, part); err != nil || !bytes.Equal(part, content[got:got+n]) {
				return fmt.Errorf("after %d bytes: %v", got+n, err)
			}
		}
		return nil
	})
}

// countedFile is a file for those that ask for its descriptor. It counts what is
// read of it through this process.
type countedFile struct {
	*os.File
	read *atomic.Int64
}

func (f countedFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.read.Add(int64(n))
	return n, err
}

func TestTheKernelSendsFilesThroughTheProxy(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var read atomic.Int64
	f := withFile(t, generous, func(w http.ResponseWriter, r *http.Request) {
		file, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		w.Header().Set("Content-Type", "text/plain")
		http.ServeContent(w, r, "", time.Time{}, countedFile{file, &read})
	})
	for _, ask := range []struct {
		header string
		want   []byte
	}{{"", content}, {"Range: bytes=100000-\r\n", content[100000:]}, {"Range: bytes=0-\r\n", content}} {
		read.Store(0)
		_, body := exchangeRaw(t, f.addr(), "GET /file HTTP/1.1\r\nHost: x\r\n"+ask.header+"\r\n")
		if body != string(ask.want) {
			t.Errorf("%s: %d bytes came, or others", ask.header, len(body))
		}
		if n := read.Load(); n > 512 { // what goes out together with the header
			t.Errorf("%s: %d bytes were copied", ask.header, n)
		}
	}
}
