package message

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readInPieces decodes a body that arrives in pieces, into buffers of a size. It
// returns the body, its length with the framing, and the error.
func readInPieces(c *Chunks, b []byte, pieces, into int) (body []byte, n int, bad error) {
	for n < len(b) && bad == nil && !c.Done() {
		piece := append([]byte(nil), b[n:min(len(b), n+pieces)]...)
		var wrote, read int
		if into == 0 { // in place
			wrote, read, bad = c.Decode(piece, piece)
			body = append(body, piece[:wrote]...)
		} else {
			dst := make([]byte, into)
			wrote, read, bad = c.Decode(dst, piece)
			body = append(body, dst[:wrote]...)
		}
		n += read
	}
	return body, n, bad
}

// However it is split, a chunked body is the same, and net/http reads it too.
func FuzzChunks(f *testing.F) {
	for _, body := range []string{
		"3\r\nabc\r\n0;a=b\r\nX: y\r\nx: Z\r\n\r\nGET", "3\nabc\r\n0\r\n\r\n", "3 \t\r\nabc\r\n0\r\n\r\n", "3 ;x\r\nabc\r\n0\r\n\r\n",
		"a;\x01\"\r\n0123456789\r\n00\r\n\r\n", "0\r\nX: a\n\r\n", "0\r\n\n", "1\r\nab\r\n",
	} {
		f.Add([]byte(body), uint8(4), uint8(3), true)
		f.Add([]byte(body), uint8(1), uint8(0), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, pieces, into uint8, lenient bool) {
		once, many := Chunks{MaxTrailer: 1 << 10, Lenient: lenient}, Chunks{MaxTrailer: 1 << 10, Lenient: lenient}
		body, n, bad := readInPieces(&once, b, len(b), 0)
		bodyToo, nToo, badToo := readInPieces(&many, b, int(pieces%7)+1, int(into%5))
		if n != nToo || !bytes.Equal(body, bodyToo) || bad != badToo || once.Done() != many.Done() {
			t.Fatalf("in one piece %q %d %v, in pieces %q %d %v", body, n, bad, bodyToo, nToo, badToo)
		}
		if !once.Done() {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"), bytes.NewReader(b[:n]))))
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(req.Body)
		if err != nil || !bytes.Equal(body, want) {
			t.Errorf("%q, and net/http reads %q, %v\n%q", body, want, err, b[:n])
		}
		if diff := cmp.Diff(req.Trailer, once.Trailer()); diff != "" {
			t.Errorf("trailer (-net/http +ours):\n%s", diff)
		}
	})
}

func TestWhatIsNoPartOfTheBodyIsBounded(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, test := range map[string]struct {
		body    string
		lenient bool
		want    error
	}{
		"trailer as large as it may be": {"0\r\nX: " + strings.Repeat("x", 1024-len("X: \r\n\r\n")) + "\r\n\r\n", false, nil},
		"a byte more":                   {"0\r\nX: " + strings.Repeat("x", 1025-len("X: \r\n\r\n")) + "\r\n\r\n", false, errTrailer},
		"fields of too many bytes":      {"0\r\n" + strings.Repeat("A:\r\n", MaxFields) + "\r\n", true, errTrailer},
		"extension":                     {"1;" + long[:255] + "\r\nx\r\n0\r\n\r\n", false, nil},
		"longer extension":              {"1;" + long + "\r\nx\r\n0\r\n\r\n", false, errExtended},
		"the same, lenient":             {"1;" + long + "\r\nx\r\n0\r\n\r\n", true, nil},
		"extension without end":         {"1;" + strings.Repeat("x", 5000), true, errExtended},
		"spaces without end":            {"1" + strings.Repeat(" ", 5000), true, errSize},
		"a thousand extensions":         {strings.Repeat("1;"+long[:250]+"\r\nx\r\n", 1000) + "0\r\n\r\n", false, nil},
	} {
		c := Chunks{MaxTrailer: 1 << 10, Lenient: test.lenient}
		if _, _, err := readInPieces(&c, []byte(test.body), len(test.body), 0); err != test.want || c.Done() != (err == nil) {
			t.Errorf("%s: %v, over %v; want %v", name, err, c.Done(), test.want)
		}
	}
	c := Chunks{MaxTrailer: 1 << 20}
	if _, _, err := readInPieces(&c, []byte("0\r\n"+strings.Repeat("A:\r\n", MaxFields+1)+"\r\n"), 1<<20, 0); err != TooManyFields {
		t.Errorf("%d fields in a trailer: %v", MaxFields+1, err)
	}
}
