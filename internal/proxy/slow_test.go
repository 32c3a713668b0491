package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A client that reads slowly lives, though its kernel tells of room only now and
// then, and nothing that is written for it is taken in between.
func TestAClientThatReadsSlowlyIsNotGivenUp(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	s := generous
	s.WriteTimeout = 200 * time.Millisecond
	file := func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }
	writes := func(header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.Write(content)
		}
	}
	for what, answer := range map[string]struct {
		path  string
		asks  string
		start func(*testing.T, *front)
	}{
		"a page":          {"/", "", func(t *testing.T, f *front) { f.route.Serve(newWorker(t, writes("Content-Length", "1048576"))) }},
		"a page's chunks": {"/", "", func(t *testing.T, f *front) { f.route.Serve(newWorker(t, writes())) }},
		"events":          {"/", "", func(t *testing.T, f *front) { f.route.Serve(newWorker(t, writes("Content-Type", "text/event-stream"))) }},
		"a file":          {"/file", "", func(t *testing.T, f *front) {}},
		"part of a file":  {"/file", "Range: bytes=0-1048570\r\n", func(t *testing.T, f *front) {}},
		"another protocol": {"/", "Connection: Upgrade\r\nUpgrade: x\r\n", func(t *testing.T, f *front) {
			f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
				readHead(r)
				io.WriteString(c, switching("x"))
				c.Write(content)
				r.ReadByte() // the client leaves
			}))
		}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := withFile(t, s, file)
			answer.start(t, f)
			inTime(t, func() error {
				c := dialNarrow(t, f.addr(), 64<<10)
				defer c.Close()
				c.SetDeadline(time.Time{})
				io.WriteString(c, "GET "+answer.path+" HTTP/1.1\r\nHost: x\r\n"+answer.asks+"\r\n")
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				got := 0
				for buf := make([]byte, 2<<10); got < size/8; { // at 100 kB/s, and the buffers hold twice as much
					<-tick.C
					n, err := c.Read(buf)
					if err != nil {
						return fmt.Errorf("after %d bytes: %w", got, err)
					}
					got += n
				}
				c.SetDeadline(time.Now().Add(testTimeout))
				if n, err := io.CopyN(io.Discard, c, int64(size-got)); err != nil {
					return fmt.Errorf("after %d bytes more: %w", n, err)
				}
				return nil
			})
		})
	}
}

// dialNarrow dials for a client whose kernel keeps few bytes for it.
func dialNarrow(t *testing.T, addr string, bytes int) net.Conn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
		})
	}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testTimeout))
	return c
}

func TestWhatWasTakenIsReadAtTheSlowest(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	var got clientProgress
	for _, look := range []struct {
		at    time.Duration
		bytes uint64
		more  bool
		left  time.Duration
	}{
		{0, 0, false, 0},
		{0, 16 << 10, true, 2 * time.Second},
		{time.Second, 16 << 10, false, time.Second},
		{time.Second, 24 << 10, true, 2 * time.Second},
		{10 * time.Second, 24 << 10, false, -7 * time.Second},
		{10 * time.Second, 32 << 10, true, time.Second},
		{11 * time.Second, 1 << 60, true, longestReading},
		{12 * time.Second, 1<<60 + 1<<20, true, longestReading},
	} {
		now := begin.Add(look.at)
		if more := got.update(look.bytes, now); more != look.more {
			t.Errorf("%d bytes after %v: more is %v", look.bytes, look.at, more)
		}
		if left := got.until.Sub(now); look.bytes > 0 && left != look.left {
			t.Errorf("%d bytes after %v: %v are left, want %v", look.bytes, look.at, left, look.left)
		}
	}
}

// A worker that reads a body slowly is waited for, though its socket takes nothing
// more until it has read most of what that holds.
func TestAWorkerThatReadsSlowlyIsNotGivenUp(t *testing.T) {
	t.Parallel()
	s := generous
	s.WriteTimeout = 2 * time.Second
	f := newFront(t, s)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		const rate = 40 << 10
		for got, began := int64(0), time.Now(); got < 4*rate; {
			<-tick.C
			n, err := io.CopyN(io.Discard, r.Body, max(1, int64(time.Since(began).Seconds()*rate)-got))
			if got += n; err != nil {
				fmt.Fprintf(w, "after %d bytes: %v", got, err)
				return
			}
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "read")
	})}
	var serving sync.WaitGroup
	serving.Go(func() { srv.Serve(l) }) // ends with srv
	b := NewBackend(deadAddr(t), BackendOptions{Socket: l.Addr().String()})
	t.Cleanup(func() { b.Close(); srv.Close(); serving.Wait() })
	f.route.Serve(b)
	inTime(t, func() error {
		resp, body, err := try(f.Client(), "POST", f.URL, string(make([]byte, 2<<20)))
		if err == nil && (resp.StatusCode != http.StatusOK || body != "read") {
			err = fmt.Errorf("%d %q", resp.StatusCode, body)
		}
		return err
	})
}
