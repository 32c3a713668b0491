package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A browser that has seen nothing of a response sends its request again, a POST
// too, on another connection.
func TestWhatCameOfACutResponseReachesTheClient(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]struct{ sends, status, body string }{
		"a part":            {"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nhalf of it", "HTTP/1.1 201 ", "half of it"},
		"no part":           {"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n", "HTTP/1.1 201 ", ""},
		"a chunk":           {"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\n", "HTTP/1.1 201 ", "a\r\nhalf of it\r\n"},
		"part of a chunk":   {"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf of it", "HTTP/1.1 201 ", "a\r\nhalf of it\r\n"},
		"no chunk":          {"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 201 ", ""},
		"half of a trailer": {"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\n0\r\nX: ", "HTTP/1.1 201 ", "a\r\nhalf of it\r\n"},
		"a bad chunk":       {"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\nzz\r\n", "HTTP/1.1 201 ", "a\r\nhalf of it\r\n"},
	} {
		for _, method := range []string{"POST", "GET"} {
			for _, dressed := range []bool{false, true} {
				f := newFront(t, generous)
				if dressed {
					f.setPolicies(t, "", func(w http.ResponseWriter, _ *http.Request, _ string) (http.ResponseWriter, func(bool)) {
						return unflushed{w}, func(bool) {}
					})
				}
				f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
					readHead(r)
					io.WriteString(c, answer.sends)
				}))
				_, r := dial(t, f.addr(), method+" / HTTP/1.1\r\nHost: x\r\nSec-Fetch-Mode: navigate\r\nContent-Length: 0\r\n\r\n")
				head := readHead(r)
				body, err := io.ReadAll(r)
				if !strings.HasPrefix(head, answer.status) || string(body) != answer.body || err != nil {
					t.Errorf("%s of %s: %q, %q, %v; want %q, then %q and the end", name, method, head, body, err, answer.status, answer.body)
				}
			}
		}
	}
}

// The end of the connection is where a body ends that has neither a length nor
// chunks, so that a cut must look otherwise.
func TestACutResponseOfHTTP10IsNoWholeOne(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for name, sends := range map[string]string{
		"a part":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\n",
		"no part": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"much":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + strings.Repeat("x", 64<<10) + "\r\n",
		"whole":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nall of it.\r\n0\r\n\r\n",
	} {
		f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readHead(r)
			io.WriteString(c, sends)
		}))
		_, r := dial(t, f.addr(), "GET / HTTP/1.0\r\n\r\n")
		head := readHead(r)
		body, err := io.ReadAll(r)
		want := map[string]int{"a part": 10, "much": 64 << 10, "whole": 10}[name]
		if !strings.HasPrefix(head, "HTTP/1.0 200 ") || len(body) != want || (name == "whole") != (err == nil) {
			t.Errorf("%s: %q, %d bytes, %v; want %d", name, head, len(body), err, want)
		}
	}
}

// unflushed is what decodes a response in a goroutine of its own: it has no use for
// a flush.
type unflushed struct{ http.ResponseWriter }

func (unflushed) Flush() {}
