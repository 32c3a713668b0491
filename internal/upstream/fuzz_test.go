package upstream

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/message"
)

// FuzzResponsesAreThoseOfTransport feeds the same bytes of a worker to a Pool and to
// net/http's Transport. Both must read the same response.
func FuzzResponsesAreThoseOfTransport(f *testing.F) {
	for _, answer := range []string{
		ok, "", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nto the end", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n2;x=y\r\nok\r\n0\r\nT: t\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, "HTTP/1.1 100 Continue\r\n\r\n" + ok,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nmore",
		"HTTP/1.1 200 OK\nA: b\n\nx", "HTTP/1.1 200 OK\r\n A: folded\r\n\r\n", "HTTP/1.1 200\r\n\r\n", "ICY 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\nx", "HTTP/1.1 200 OK\r\nConnection: close, X\r\nPragma: no-cache\r\nX: y\r\n\r\nx",
		"HTTP/1.1 200 OK\nA: b \n c\r\n\t d \r\nContent-Length: 1\n\nx", "HTTP/2.0 200 OK\r\n\r\nx", "HTTP/1.1 200 OK\r\nX : y\r\nX Y: z\r\n\r\nx",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \t\r\nok\r\n0;x\r\nT: t\n U: u\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n",
	} {
		f.Add(answer, uint8(0))
		f.Add(answer, uint8(1))
	}
	f.Fuzz(func(t *testing.T, answer string, method uint8) {
		if len(answer) > 64<<10 {
			return
		}
		verb := []string{"GET", "HEAD", "POST"}[method%3]
		ours := outcomeOf(func(dial dialer) (*http.Response, error) {
			return NewPool(time.Minute, dial).RoundTrip(t.Context(), newExchange(verb, nil))
		}, t, answer)
		theirs := outcomeOf(func(dial dialer) (*http.Response, error) {
			tr := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
			t.Cleanup(tr.CloseIdleConnections)
			r, err := http.NewRequestWithContext(t.Context(), verb, "http://page/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			return tr.RoundTrip(r)
		}, t, answer)
		if !theirs.Failed && theirs.Status < 100 { // not a valid status (RFC 9110 section 15)
			theirs = outcome{Failed: true}
		}
		if stricterByDesign(answer, theirs, ours) {
			return
		}
		normalize(answer, &theirs)
		normalize(answer, &ours)
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("%s, %q (-Transport +ours):\n%s", verb, answer, diff)
		}
	})
}

// stricterByDesign reports whether the package refuses or cuts a response on
// purpose that net/http accepts.
func stricterByDesign(answer string, theirs, ours outcome) bool {
	if ours.Failed == theirs.Failed && ours.Cut == theirs.Cut {
		return false
	}
	for line := range strings.Lines(answer) {
		name, _, _ := strings.Cut(line, ":")
		switch {
		case strings.HasPrefix(line, "HTTP/") && !strings.HasPrefix(line, "HTTP/1."): // a version that is not supported
		case strings.Contains(name, " "): // a space in a name, or a folded line of a trailer
		case ours.Cut && !strings.HasSuffix(line, "\r\n"): // a line of a trailer that ends in a bare LF
		default:
			continue
		}
		return true
	}
	return strings.Count(answer, "\n") > message.MaxFields
}

// normalize removes differences that net/http makes: it drops Connection if that
// contains close, adds Cache-Control for Pragma, and allows values to end in a
// space, names to have a space before the colon, and the response to HEAD to have a
// length beside chunks.
func normalize(answer string, a *outcome) {
	for name, values := range a.Header {
		if trimmed := strings.TrimRight(name, " "); trimmed != name {
			delete(a.Header, name)
			a.Header[http.CanonicalHeaderKey(trimmed)] = values
		}
		for i, v := range values {
			values[i] = strings.TrimRight(v, " \t")
		}
	}
	if message.HasToken(a.Header["Connection"], "close") {
		delete(a.Header, "Connection")
	}
	if a.Header.Get("Pragma") == "no-cache" && !strings.Contains(strings.ToLower(answer), "cache-control") {
		delete(a.Header, "Cache-Control")
	}
	if strings.Contains(strings.ToLower(answer), "transfer-encoding") && a.Body == "" {
		delete(a.Header, "Content-Length")
		a.Length = 0
	}
}

type dialer = func(context.Context) (net.Conn, error)

// outcome is what a client read.
type outcome struct {
	Failed  bool
	Status  int
	Header  http.Header
	Length  int64
	Body    string
	Cut     bool
	Trailer http.Header
}

// outcomeOf returns what a client reads from a worker's bytes.
func outcomeOf(roundTrip func(dialer) (*http.Response, error), t *testing.T, bytesOfWorker string) outcome {
	ours, theirs := socketPair(t)
	ended := make(chan struct{})
	go func() { // ends with the connection
		defer close(ended)
		defer theirs.Close()
		var asked []byte
		for b := make([]byte, 1024); !bytes.Contains(asked, []byte("\r\n\r\n")); {
			n, err := theirs.Read(b)
			if asked = append(asked, b[:n]...); err != nil {
				return
			}
		}
		io.WriteString(theirs, bytesOfWorker)
	}()
	defer func() { ours.Close(); <-ended }()
	resp, err := roundTrip(func(context.Context) (net.Conn, error) { return ours, nil })
	if err != nil {
		return outcome{Failed: true}
	}
	defer resp.Body.Close()
	a := outcome{Status: resp.StatusCode, Header: resp.Header, Length: resp.ContentLength}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return a
	}
	body, err := io.ReadAll(resp.Body)
	a.Body, a.Cut, a.Trailer = string(body), err != nil, resp.Trailer
	return a
}

func socketPair(t *testing.T) (a, b net.Conn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		conns[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return conns[0], conns[1]
}
