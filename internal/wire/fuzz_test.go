package wire

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What is let through net/http reads as the same request, and nothing that it
// would not read itself.
func FuzzParseHead(f *testing.F) {
	for _, test := range bad {
		f.Add([]byte(test.send))
	}
	f.Add([]byte("POST http://h/%41?%zz HTTP/1.1\r\nHost: h:1\r\nContent-Length: 10\r\nX: \t y \r\n\r\n0123456789"))
	f.Add([]byte("OPTIONS * HTTP/1.0\r\nConnection: a,upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		end, bare := endOfHead(b, 0)
		if bare || end == 0 {
			return
		}
		for from := range min(end, 500) { // in however many pieces it came
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
		length := req.ContentLength
		if h.chunked != (len(req.TransferEncoding) > 0) || !h.chunked && length != h.length {
			t.Errorf("net/http reads a body of %d, %v; %+v\n%q", length, req.TransferEncoding, h, b[:end])
		}
	})
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

// However the pieces fall, a body in chunks ends at the same byte, and net/http
// reads all of what is let through.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0;a=b\r\nX: y\r\n\r\nGET"), uint(4))
	f.Add([]byte("3\nabc\r\n0\r\n\r\n"), uint(1))
	f.Fuzz(func(t *testing.T, b []byte, size uint) {
		var whole, pieces chunks
		n, bad := whole.follow(b, 1<<10)
		size = size%7 + 1
		m, badToo := 0, (*Refusal)(nil)
		for m < len(b) && badToo == nil && pieces.part != chunksOver {
			var k int
			k, badToo = pieces.follow(b[m:min(len(b), m+int(size))], 1<<10)
			m += k
		}
		if n != m || (bad == nil) != (badToo == nil) {
			t.Fatalf("in one piece %d %v, in pieces %d %v", n, bad, m, badToo)
		}
		if whole.part != chunksOver {
			return
		}
		rest := bytes.NewReader(b[:n])
		req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"), rest)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(req.Body); err != nil {
			t.Errorf("net/http cannot read what was let through: %v\n%q", err, b[:n])
		}
	})
}
