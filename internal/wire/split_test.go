package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// streams are pipelined requests, with what may stand between them.
var streams = []string{
	victim,
	"\r\n\r\n" + victim,
	"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /\r\n" + victim,
	"POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n00\r\nX: y\r\n\r\n" + victim,
	"GET /c HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\na" + victim,
	"GET /d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + victim,
	"GET /e HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + victim,
	"POST /f HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" + victim,
	"GET /g HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 1<<10) + "\n\r\n" + victim,
}

// However a stream is split into pieces, the handler sees the requests that
// net/http reads from the whole stream, and the responses are the same.
func FuzzPieces(f *testing.F) {
	for i, s := range streams {
		f.Add([]byte(s+streams[(i+1)%len(streams)]), uint8(i))
	}
	for _, test := range badRequests {
		if len(test.send) < 1000 {
			f.Add([]byte(victim+test.send+victim), uint8(0))
		}
	}
	s := generous
	s.MaxHeader = 1 << 10
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		if len(b) > 4<<10 {
			return
		}
		whole, saw := sendInPieces(t, s, b, len(b)+1)
		pieces, sawToo := sendInPieces(t, s, b, int(size%16)+1)
		if whole != pieces || !slices.Equal(saw, sawToo) {
			t.Errorf("%q\nin one piece: %q\n%s\nin pieces of %d: %q\n%s", b, saw, whole, size%16+1, sawToo, pieces)
		}
		bare := bufio.NewReader(bytes.NewReader(bytes.TrimLeft(b, "\r\n")))
		for _, got := range saw {
			r, err := http.ReadRequest(bare)
			if err != nil {
				t.Fatalf("%q\nthe handler saw %q, and net/http reads %v", b, got, err)
			}
			body, _ := io.ReadAll(r.Body)
			if want := describeRequest(r, body); got != want {
				t.Errorf("%q\nthe handler saw %q, and net/http reads %q", b, got, want)
			}
			for next, _ := bare.Peek(2); string(next) == "\r\n"; next, _ = bare.Peek(2) {
				bare.Discard(2)
			}
		}
	})
}

func describeRequest(r *http.Request, body []byte) string {
	return fmt.Sprintf("%s %s %s %q %q", r.Method, r.RequestURI, r.Host, body, r.Trailer)
}

// sendInPieces sends bytes in pieces and returns all responses, and which requests
// were accepted.
func sendInPieces(t *testing.T, s Settings, b []byte, size int) (answers string, saw []string) {
	d := startServer(t, s, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		if refusal := RefusalOf(r); refusal != nil {
			http.Error(w, refusal.Reason, refusal.Status)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.Header().Set("Connection", "close")
			http.Error(w, "bad body", http.StatusBadRequest)
			return
		}
		saw = append(saw, describeRequest(r, body))
		io.WriteString(w, saw[len(saw)-1])
	})
	c, r := d.dial()
	go func() { // ends with c
		for piece := range slices.Chunk(b, size) {
			if _, err := c.Write(piece); err != nil {
				return
			}
		}
		c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	var all strings.Builder
	io.Copy(&all, r) // how the connection ends varies
	return all.String(), saw
}
