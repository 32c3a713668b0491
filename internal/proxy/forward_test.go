package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/policy"
)

// seenBy returns the head of a request as the worker sees it.
func seenBy(t *testing.T, f *front, request string) (line string, header textproto.MIMEHeader) {
	t.Helper()
	head := make(chan string, 1)
	f.route.Serve(newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		head <- readHead(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}))
	resp, _ := exchangeRaw(t, f.addr(), request)
	mustStatus(t, resp, 200)
	tp := textproto.NewReader(bufio.NewReader(strings.NewReader(<-head)))
	line, err := tp.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	header, err = tp.ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	return line, header
}

func TestPathAndQueryReachTheWorkerByteForByte(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for _, target := range []string{
		"/", "/a%2Fb", "/a|b", "//x", "//x%2Fy//z", "/%7euser", "/ä", "/a;b", "/a%20b+c", "/%C3%A4{}^`\"<>\\", "/a:b@c", "/http://x/",
		"/?", "/x??", "/?a;b&c=%zz", "/?a=1&a=2&&=", "/p?q=%2F/?", "/p?q=ä|\"", "/*",
	} {
		line, _ := seenBy(t, f, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if want := "GET " + target + " HTTP/1.1"; line != want {
			t.Errorf("the worker sees %q, want %q", line, want)
		}
	}
	line, header := seenBy(t, f, "GET http://other.example/a%2Fb?c;d HTTP/1.1\r\nHost: x\r\n\r\n")
	if line != "GET /a%2Fb?c;d HTTP/1.1" || header.Get("Host") != "other.example" {
		t.Errorf("of a full address the worker sees %q, host %q", line, header.Get("Host"))
	}
}

func TestTheWorkerSeesTheClientsHeaderAndOurs(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	_, got := seenBy(t, f, "GET / HTTP/1.1\r\nHost: shop.example:8080\r\n"+
		"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\n"+
		"Connection: close, X-Private, X-Request-Id, X-Forwarded-For\r\nX-Private: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nTE: trailers\r\n"+
		"X-Request-Id: mine\r\nX-Many: 1\r\nX-Many: 2\r\nCookie: a=b\r\nIdempotency-Key: k\r\nAccept-Encoding: br\r\n\r\n")
	got.Del("Traceparent") // trace_test.go
	want := textproto.MIMEHeader{
		"Host": {"shop.example:8080"}, "X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"shop.example:8080"},
		"Te": {"trailers"}, "Connection": {"TE"}, "X-Request-Id": {"mine"}, "X-Many": {"1", "2"}, "Cookie": {"a=b"}, "Idempotency-Key": {"k"}, "Accept-Encoding": {"br"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("header at the worker (-want +got):\n%s", diff)
	}
	_, got = seenBy(t, f, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	for _, name := range []string{"User-Agent", "Accept-Encoding", "Connection", "Te", "Content-Length", "Transfer-Encoding"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s: %q was invented", name, v)
		}
	}
	if got.Get("X-Request-Id") == "" {
		t.Error("the request has no name")
	}
	_, got = seenBy(t, f, "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: mine/1\r\n\r\n")
	if got.Get("User-Agent") != "mine/1" {
		t.Errorf("User-Agent %q", got.Get("User-Agent"))
	}
}

func TestTheClientSeesTheWorkersHeaderAndTheSameRequestID(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	ids := make(chan string, 1)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		ids <- r.Header.Get("X-Request-Id")
		h := w.Header()
		h.Set("X-Request-Id", "the worker's own")
		h.Set("Connection", "X-Private")
		h.Set("X-Private", "1")
		h.Set("Keep-Alive", "timeout=5")
		h["X-Many"] = []string{"1", "2"}
		w.WriteHeader(299)
	}))
	resp, _ := do(t, f.Client(), "GET", f.URL, "")
	if id := <-ids; id == "" || !slices.Equal(resp.Header.Values("X-Request-Id"), []string{id}) {
		t.Errorf("the worker knows the request as %q, the client as %q", id, resp.Header.Values("X-Request-Id"))
	}
	if resp.StatusCode != 299 || len(resp.Header["X-Many"]) != 2 || resp.Header.Get("X-Private")+resp.Header.Get("Keep-Alive") != "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	got := make(chan http.Header, 1)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, r.Body)
		got <- r.Trailer
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "43")
	}))
	resp, body := exchangeRaw(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nTrailer: X-Hash\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Hash: 41\r\n\r\n")
	if body != "body" || resp.Trailer.Get("X-Sum") != "42" || resp.Trailer.Get("X-Late") != "43" {
		t.Errorf("%q, trailer %v", body, resp.Trailer)
	}
	if tr := <-got; tr.Get("X-Hash") != "41" {
		t.Errorf("trailer of the request: %v", tr)
	}
}

func TestInterimResponsesPass(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "page")
	}))
	_, r := dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 103 ") || !strings.Contains(head, "Link: </a.css>") {
		t.Errorf("first %q", head)
	}
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 200 ") || strings.Count(head, "X-Request-Id") != 1 {
		t.Errorf("then %q", head)
	}
}

func TestExpectContinueIsTheWorkersToAnswer(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		io.Copy(w, r.Body)
	}))
	const expecting = " HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
	c, r := dial(t, f.addr(), "POST /yes"+expecting)
	if head := readHead(r); head != "HTTP/1.1 100 Continue\r\n\r\n" && !strings.HasPrefix(head, "HTTP/1.1 100 ") {
		t.Fatalf("first %q", head)
	}
	io.WriteString(c, "body")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "body" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	resp, _ = exchangeRaw(t, f.addr(), "POST /no"+expecting)
	mustStatus(t, resp, http.StatusForbidden)

	f.route.Refuse(policy.Refusal{Status: 503, Title: "No"})
	resp, _ = exchangeRaw(t, f.addr(), "POST /no"+expecting)
	mustStatus(t, resp, 503)
}

func TestAResponseMayComeBeforeTheBodyIsRead(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		io.Copy(flushing{w, rc}, r.Body)
	}))
	c, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Fatalf("%q", head)
	}
	for _, chunk := range []string{"4\r\nping\r\n", "4\r\npong\r\n", "0\r\n\r\n"} {
		io.WriteString(c, chunk)
		got := make([]byte, len(chunk))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != chunk {
			t.Errorf("%q came back as %q: %v", chunk, got, err)
		}
	}
}

type flushing struct {
	w  io.Writer
	rc *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.rc.Flush()
	return n, err
}

func TestARefusedBodyIsNotTakenForTheNextRequest(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Refuse(policy.Refusal{Status: 503, Title: "No"})
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	c, r := dial(t, f.addr(), fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(smuggled)))
	resp, err := http.ReadResponse(r, nil) // at once, though the body is not there
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	mustStatus(t, resp, 503)
	// The server gives the rest of the body a moment and no more.
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("another answer: %q", rest)
	}
	io.WriteString(c, smuggled)
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("another answer: %q", rest)
	}
}
