package proxy

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestWhatAWorkerSentArrivesBeforeItSendsMore has the client ask for each part
// by its having got the one before.
func TestWhatAWorkerSentArrivesBeforeItSendsMore(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for name, tt := range map[string]struct{ head, format, body string }{
		"events":                    {"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", "3\r\n%s\r\n", "3\r\n%s\r\n"},
		"chunks":                    {"Transfer-Encoding: chunked\r\n", "3\r\n%s\r\n", "3\r\n%s\r\n"},
		"a length":                  {"Content-Length: 100\r\n", "%s", "%s"},
		"to the end":                {"Connection: close\r\n", "%s", "3\r\n%s\r\n"},
		"events of a known length":  {"Content-Type: text/event-stream\r\nContent-Length: 100\r\n", "%s", "%s"},
		"events, to the end, quiet": {"Content-Type: text/event-stream; a=\"\r\nConnection: close\r\n", "%s", "3\r\n%s\r\n"},
	} {
		next := make(chan string)
		f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readHead(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n"+tt.head+"\r\n")
			for {
				select {
				case part := <-next:
					fmt.Fprintf(c, tt.format, part)
				case <-t.Context().Done():
					return
				}
			}
		}))
		_, r := dial(t, f.addr(), get)
		if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 200 ") { // before any of the body
			t.Fatalf("%s: %q", name, head)
		}
		parts := []string{"one", "two", "six"}
		for _, part := range parts {
			next <- part
			want := fmt.Sprintf(tt.body, part)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
				t.Fatalf("%s: %q, %v; want %q", name, got, err, want)
			}
		}
	}
}

// TestSmallMessagesGoOutInOnePiece: each piece more wakes who reads it.
func TestSmallMessagesGoOutInOnePiece(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	var got []string
	one := func(c net.Conn) string {
		b := make([]byte, 64<<10)
		n, err := c.Read(b)
		if err != nil {
			t.Error(err)
		}
		return string(b[:n])
	}
	for size := 1; size <= 15<<10; size += 1 << 10 {
		body := strings.Repeat("x", size)
		f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			got = append(got, one(c))
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body)
			r.ReadByte()
		}))
		c, _ := dial(t, f.addr(), fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", size, body))
		if answer := one(c); !strings.HasSuffix(answer, "\r\n\r\n"+body) {
			t.Errorf("of a response of %d bytes %d came first, header included", size, len(answer))
		}
		if request := got[len(got)-1]; runtime.GOOS == "linux" && !strings.HasSuffix(request, "\r\n\r\n"+body) {
			t.Errorf("of a request of %d bytes %d came first, header included", size, len(request))
		}
	}
}

// TestABodyMayComeInAnyPieces has what is at hand end anywhere.
func TestABodyMayComeInAnyPieces(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%d %x %v", n, sum.Sum(nil), err)
	}))
	for range 200 {
		body, _ := io.ReadAll(random(rand.Int64N(40<<10), byte(rand.Int())))
		c, r := dial(t, f.addr(), fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", len(body)))
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(12<<10))
			c.Write(rest[:n])
			rest = rest[n:]
			if rand.IntN(2) == 0 {
				<-time.After(time.Millisecond)
			}
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		if want := fmt.Sprintf("%d %x %v", len(body), sha256.Sum256(body), nil); string(text) != want {
			t.Errorf("%s, want %s", text, want)
		}
	}
}

// TestALongPollIsNotCut has a pause in which nothing moves at all, longer than
// a client may pause.
func TestALongPollIsNotCut(t *testing.T) {
	t.Parallel()
	s := generous
	s.ReadTimeout = hasty
	f := newFront(t, s)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-time.After(3 * hasty)
		fmt.Fprint(w, "news")
	}))
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			if resp, body := do(t, f.Client(), method, f.URL, "body"); resp.StatusCode != 200 || body != "news" {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
		})
	}
}

// random is n bytes, never the same.
func random(n int64, seed byte) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), n)
}

// TestBodiesOfAnySizeTakeNoMemory has them go both ways at once, worker and
// client in this process too.
func TestBodiesOfAnySizeTakeNoMemory(t *testing.T) {
	const size, bound = 256 << 20, 16 << 20
	f := newFront(t, generous)
	up := make(chan hash.Hash, 1)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		var ways sync.WaitGroup
		down := random(size, 1)
		ways.Go(func() { io.CopyN(w, down, size-1) }) // ends with the response
		sum := sha256.New()
		io.Copy(sum, r.Body)
		ways.Wait()
		io.Copy(w, down) // a whole answer would be the end
		up <- sum
	}))
	for _, path := range []string{"/length", "/chunks"} {
		runtime.GC()
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		peak, stop := make(chan uint64, 1), make(chan struct{})
		go func() { // ends with stop
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for most := uint64(0); ; {
				select {
				case <-tick.C:
					runtime.ReadMemStats(&now)
					most = max(most, now.HeapInuse)
				case <-stop:
					peak <- most
					return
				}
			}
		}()
		req, err := http.NewRequest("POST", f.URL+path, random(size, 2))
		if err != nil {
			t.Fatal(err)
		}
		if path == "/length" {
			req.ContentLength = size
		}
		f.Client().Timeout = 10 * testTimeout
		resp, err := f.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		down, want := sha256.New(), sha256.New()
		n, err := io.Copy(down, resp.Body)
		resp.Body.Close()
		close(stop)
		if grew := int64(<-peak) - int64(before.HeapInuse); grew > bound {
			t.Errorf("%s: the heap grew by %d bytes, want at most %d", path, grew, bound)
		} else {
			t.Logf("%s: the heap grew by %d KiB", path, grew>>10)
		}
		io.Copy(want, random(size, 1))
		if err != nil || n != size || string(down.Sum(nil)) != string(want.Sum(nil)) {
			t.Errorf("%s: %d bytes came, %v, or others than were sent", path, n, err)
		}
		want.Reset()
		io.Copy(want, random(size, 2))
		if string((<-up).Sum(nil)) != string(want.Sum(nil)) {
			t.Errorf("%s: the worker got other bytes than were sent", path)
		}
	}
}

// TestWhatAWorkerSaysTooMuchIsNobodysResponse has a worker append a response to
// its answer. The next request on the connection must not get it.
func TestWhatAWorkerSaysTooMuchIsNobodysResponse(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"a length":       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"chunks":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"no body":        "HTTP/1.1 204 No Content\r\n\r\n",
		"nothing is new": "HTTP/1.1 304 Not Modified\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, generous)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			serving.Go(func() { // ends with the listener
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					serving.Go(func() { // ends with the connection
						defer c.Close()
						for r := bufio.NewReader(c); readHead(r) != ""; {
							io.WriteString(c, answer+"HTTP/1.1 500 Leak\r\nContent-Length: 4\r\n\r\nleak")
						}
					})
				}
			})
			b := NewBackend(l.Addr().String(), BackendOptions{})
			t.Cleanup(func() { b.Close(); l.Close(); serving.Wait() })
			f.route.Serve(b)
			var asking sync.WaitGroup
			for range 8 {
				asking.Go(func() { // ends after some requests
					for range 100 {
						resp, err := f.Client().Get(f.URL)
						if err != nil {
							t.Error(err)
							return
						}
						body, _ := io.ReadAll(resp.Body)
						resp.Body.Close()
						if strings.Contains(string(body), "leak") || resp.StatusCode == 500 {
							t.Errorf("a request was answered %d %q", resp.StatusCode, body)
							return
						}
					}
				})
			}
			asking.Wait()
		})
	}
}

func TestGarbageIsA502(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for name, answer := range map[string]string{
		"nothing":                     "",
		"half a line":                 "HTTP/1.1 200",
		"half a header":               "HTTP/1.1 200 OK\r\nX-A: b\r\n",
		"another protocol":            "SSH-2.0-OpenSSH_9.6\r\n",
		"binary":                      "\x16\x03\x01\x02\x00\x01\x00",
		"a page without head":         "<html>\r\n\r\n",
		"no number":                   "HTTP/1.1 abc OK\r\n\r\n",
		"a long number":               "HTTP/1.1 2000 OK\r\n\r\n",
		"a short number":              "HTTP/1.1 99 OK\r\n\r\n",
		"number zero":                 "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
		"a number below":              "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
		"no colon":                    "HTTP/1.1 200 OK\r\nX-A\r\n\r\n",
		"two lengths":                 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
		"a bad length":                "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
		"an unknown coding":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunked twice":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a NUL":                       "HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
		"a protocol nobody asked for": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n",
		"an interim answer only":      "HTTP/1.1 102 Processing\r\n\r\n",
	} {
		b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readHead(r)
			io.WriteString(c, answer)
		})
		f.route.Serve(b)
		_, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		for err == nil && resp.StatusCode == 102 {
			resp, err = http.ReadResponse(r, nil)
		}
		if err != nil {
			t.Fatal(name, err)
		}
		if body, err := io.ReadAll(resp.Body); resp.StatusCode != 502 || err != nil || !strings.Contains(string(body), "Bad gateway") {
			t.Errorf("%s: %d %q, %v", name, resp.StatusCode, body, err)
		}
		drained(t, b)
	}
}

func TestResponsesThatBreakOffAreCut(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for name, answer := range map[string]string{
		"a bad chunk":            "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n",
		"a chunk that is longer": "Transfer-Encoding: chunked\r\n\r\n4\r\npart!\r\n0\r\n\r\n",
		"no last chunk":          "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
		"half a trailer":         "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\nX-A",
		"no end":                 "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n",
		"a length":               "Content-Length: 5\r\n\r\npart",
	} {
		f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readHead(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n"+answer)
		}))
		_, r := dial(t, f.addr(), get)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			continue // cut before anything was flushed
		}
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: %q ends as if it were whole", name, body)
		}
		if rest, _ := io.ReadAll(r); len(rest) > 0 {
			t.Errorf("%s: then %q", name, rest)
		}
	}
}

// TestAResponseInPlaceOfABodyEndsTheConnection has the proxy wait for a body
// that stops coming, while the worker's answer is over.
func TestAResponseInPlaceOfABodyEndsTheConnection(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	b := newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.ReadFull(r, make([]byte, 4)) // the proxy reads on
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		io.Copy(io.Discard, r)
	})
	f.route.Serve(b)
	quickly(t, "the connection is closed", 2*endTimeout, func() time.Duration {
		_, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok" || !resp.Close {
			t.Errorf("%q, %v, close %v", body, err, resp.Close)
		}
		answered := time.Now()
		io.ReadAll(r)
		return time.Since(answered)
	})
	drained(t, b)
}
