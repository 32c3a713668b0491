package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Trailers may be as large as headers, and chunks have extensions that nobody
// reads, both ways.
func TestTrailersAndExtensionsOfSomeSizePass(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	trailer := func(size int) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, "X-Sum-%d: %s\r\n", i, strings.Repeat("x", 480))
		}
		return b.String()
	}
	extended := strings.Repeat("1;"+strings.Repeat("x", 250)+"\r\na\r\n", 100)
	for name, test := range map[string]struct{ body, trailer string }{
		"trailer of 5 KiB":                    {"1\r\na\r\n", trailer(5 << 10)},
		"trailer of 20 KiB":                   {"1\r\na\r\n", trailer(20 << 10)},
		"trailer of 60 KiB":                   {"1\r\na\r\n", trailer(60 << 10)},
		"trailer without a body":              {"", trailer(20 << 10)},
		"100 chunks with long extensions":     {extended, ""},
		"chunks with extensions, and trailer": {extended, trailer(20 << 10)},
	} {
		message := "Transfer-Encoding: chunked\r\n\r\n" + test.body + "0\r\n" + test.trailer + "\r\n"
		wantBody := strings.Count(test.body, "\r\na\r\n")
		wantFields := strings.Count(test.trailer, "\r\n")
		got := make(chan *http.Request, 1)
		f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			req, err := http.ReadRequest(bufio.NewReaderSize(r, 128<<10))
			if err == nil {
				b, _ := io.ReadAll(req.Body)
				req.ContentLength = int64(len(b))
			}
			got <- req
			io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n"+message)
		}))
		_, small := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\n"+message)
		resp, err := http.ReadResponse(bufio.NewReaderSize(small, 128<<10), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || len(body) != wantBody || len(resp.Trailer) != wantFields || err != nil {
			t.Errorf("%s: the client sees %d, a body of %d with %d trailers, %v; want %d and %d", name, resp.StatusCode, len(body), len(resp.Trailer), err, wantBody, wantFields)
			continue
		}
		if r := <-got; r == nil || int(r.ContentLength) != wantBody || len(r.Trailer) != wantFields {
			t.Errorf("%s: the worker sees %+v; want a body of %d and %d trailers", name, r, wantBody, wantFields)
		}
	}
}

// TestAResponseIsBounded is of what a worker says beside the body.
func TestAResponseIsBounded(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	fields := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "z%d: 1\r\n", i)
		}
		return b.String()
	}
	const length = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
	for name, test := range map[string]struct {
		answer string
		status int
	}{
		"as many fields as there may be": {length + fields(255) + "\r\n", 200},
		"one more":                       {length + fields(256) + "\r\n", 502},
		"of one name":                    {length + strings.Repeat("z: 1\r\n", 256) + "\r\n", 502},
		"in an interim answer":           {"HTTP/1.1 103 Early Hints\r\n" + fields(257) + "\r\n" + length + "\r\n", 502},
		"announced": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: " + strings.ReplaceAll(fields(257), ": 1\r\n", ",") +
			"\r\n\r\n0\r\n\r\n", 502},
		"a large header":             {length + "X: " + strings.Repeat("x", 1<<20-100) + "\r\n\r\n", 200},
		"a header that is too large": {length + "X: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", 502},
	} {
		f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readHead(r)
			io.WriteString(c, test.answer)
		}))
		if resp, _ := exchangeRaw(t, f.addr(), get); resp.StatusCode != test.status {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, test.status)
		}
	}
}
