package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"
)

// TestClientsThatLeaveLeaveNothingBehind repeats each way to leave midway.
func TestClientsThatLeaveLeaveNothingBehind(t *testing.T) {
	const repeats = 200
	f := newFront(t, generous)
	asked, left := make(chan struct{}, 1), make(chan struct{}, 1)
	b := newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		asked <- struct{}{}
		switch r.URL.Path {
		case "/upload":
			io.Copy(io.Discard, r.Body)
		case "/download":
			for chunk, err := make([]byte, 32<<10), error(nil); err == nil; {
				_, err = w.Write(chunk)
			}
		case "/upgrade":
			c, _, _ := rc.Hijack()
			io.WriteString(c, switching("foo"))
			io.Copy(io.Discard, c)
			c.Close()
		}
		left <- struct{}{}
	})
	for name, request := range map[string]string{
		"upload":   "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf",
		"chunks":   "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"download": "GET /download HTTP/1.1\r\nHost: x\r\n\r\n",
		"upgrade":  "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n",
		"hold":     "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf",
	} {
		leave := func() {
			f.route.Serve(b)
			if name == "hold" {
				f.route.Hold()
			}
			c, err := net.Dial("tcp", f.addr())
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(c, request)
			if name == "hold" {
				eventually(t, "it is held", func() bool { return f.route.Held() == 1 })
				c.Close()
				eventually(t, "it is held no more", func() bool { return f.route.Held() == 0 })
				return
			}
			within(t, testTimeout, "the worker was asked", asked)
			if name != "upload" && name != "chunks" {
				bufio.NewReader(c).Peek(1)
			}
			c.Close()
			within(t, testTimeout, "the worker knows that the client left", left)
		}
		for range 10 { // what is made once
			leave()
		}
		f.Client().CloseIdleConnections()
		eventually(t, "it is quiet", func() bool { return b.InFlight() == 0 })
		goroutines, files := runtime.NumGoroutine(), descriptors(t)
		for range repeats {
			leave()
		}
		eventually(t, "goroutines and descriptors are as many as before: "+name, func() bool {
			return runtime.NumGoroutine() <= goroutines && descriptors(t) <= files
		})
	}
}

// descriptors counts what this process has open, where that can be known.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil && runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	return len(open)
}
