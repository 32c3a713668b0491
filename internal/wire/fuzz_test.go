package wire

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// net/http reads every accepted request in the same way, and accepts it, except
// that it adds a Cache-Control for Pragma.
func FuzzParseHead(f *testing.F) {
	for _, test := range badRequests {
		f.Add([]byte(test.send))
	}
	f.Add([]byte("POST http://h/%41?%zz HTTP/1.1\r\nHost: h:1\r\nContent-Length: 10\r\nX: \t y \r\n\r\n0123456789"))
	f.Add([]byte("OPTIONS * HTTP/1.0\r\nConnection: a,upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nhost: h\r\nPragma: no-cache\r\nConnection: close, X-a\r\nx-A: 1\r\nX-a: 2\r\nTrailer: a,, B\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("GET /?a HTTP/1.9\r\nHOST: h\r\nTrailer: a\r\nContent-Length: 007\r\nX:\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		end, bare := endOfHead(b, 0)
		if bare || end == 0 {
			return
		}
		for from := range min(end, 500) { // in however many pieces it arrived
			if again, _ := endOfHead(b[:end], from); from < end-1 && again != end && !bytes.Contains(b[:from], []byte("\n\r\n")) {
				t.Fatalf("end at %d, and looked for from %d at %d", end, from, again)
			}
		}
		h, refusal := parseHead(b[:end])
		if refusal != nil {
			if strings.ContainsFunc(refusal.Method+refusal.Target+refusal.Accept, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				t.Errorf("control characters are shown: %+v", refusal)
			}
			return
		}
		req, err := http.ReadRequest(bufio.NewReaderSize(io.MultiReader(bytes.NewReader(b[:end]), neverEnding{}), end+1))
		if err != nil {
			t.Fatalf("net/http refuses what was let through: %v\n%q", err, b[:end])
		}
		ours, err := (&Conn{requestTemplate: new(http.Request)}).newRequest(b[:end], h)
		if err != nil {
			t.Fatalf("what was let through cannot be read: %v\n%q", err, b[:end])
		}
		if !bytes.Contains(bytes.ToLower(b[:end]), []byte("\ncache-control")) {
			delete(req.Header, "Cache-Control") // net/http adds it for Pragma
		}
		for _, r := range []*http.Request{ours, req} {
			r.Body = nil
			for name, values := range r.Header {
				for i, v := range values {
					r.Header[name][i] = strings.TrimRight(v, " \t")
				}
			}
		}
		if diff := cmp.Diff(req, ours, cmpopts.IgnoreUnexported(http.Request{}), cmpopts.IgnoreUnexported(url.Userinfo{})); diff != "" {
			t.Errorf("%q (-net/http +ours):\n%s", b[:end], diff)
		}
	})
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }
