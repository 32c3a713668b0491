package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// workerSending is a worker that answers every request with the same bytes, on one
// connection as long as it can, and reads no body.
func workerSending(t *testing.T, answer string) *Backend {
	return newRawWorker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for readHead(r) != "" {
			io.WriteString(c, answer)
			if strings.Contains(answer, "Connection: close") {
				return
			}
		}
	})
}

// headOf asks and returns the head of the response as it came, without what we
// add to each.
func headOf(t *testing.T, f *front, request string) []string {
	t.Helper()
	_, r := dial(t, f.addr(), request)
	lines := strings.Split(strings.TrimSuffix(readHead(r), "\r\n\r\n"), "\r\n")
	return slices.DeleteFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "X-Request-Id: ") || strings.HasPrefix(l, "Traceparent: ")
	})
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

func TestAResponsesHeaderIsTheWorkers(t *testing.T) {
	t.Parallel()
	const date = "Date: Thu, 01 Jan 1970 00:00:00 GMT"
	f := newFront(t, generous)
	for name, tt := range map[string]struct{ request, answer, want string }{
		"nothing is invented": {get,
			"200 OK|" + date + "|Content-Length: 6||<html>",
			"200 OK|Content-Length: 6|" + date},
		"nor for chunks": {get,
			"200 OK|" + date + "|Transfer-Encoding: chunked||6|<html>|0||",
			"200 OK|" + date + "|Transfer-Encoding: chunked"},
		"nor after a hint": {get,
			"103 Early Hints|Content-Type: text/x||HTTP/1.1 200 OK|" + date + "|Content-Length: 6||<html>",
			"103 Early Hints|Content-Type: text/x"},
		"date and server are kept": {get,
			"200 OK|" + date + "|Server: Shop/2|Content-Length: 0||",
			"200 OK|Content-Length: 0|" + date + "|Server: Shop/2"},
		"values are bytes": {get,
			"200 OK|" + date + "|Content-Length: 0|X-Empty:|X-Eight: \xe4\xff|X-Two: a|X-Two: a|X-List: a,  b||",
			"200 OK|Content-Length: 0|" + date + "|X-Eight: \xe4\xff|X-Empty: |X-List: a,  b|X-Two: a|X-Two: a"},
		"cookies stay apart": {get,
			"200 OK|" + date + "|Content-Length: 0|Set-Cookie: a=1, 2|Set-Cookie: b=\"2\"; Path=/||",
			"200 OK|Content-Length: 0|" + date + "|Set-Cookie: a=1, 2|Set-Cookie: b=\"2\"; Path=/"},
		"hop by hop": {get,
			"200 OK|" + date + "|Content-Length: 0|Connection: X-One|Connection: x-two, , keep-alive|X-One: 1|X-Two: 1|X-Three: 1|Keep-Alive: 5|Proxy-Connection: a|Proxy-Authenticate: a|TE: a|Upgrade: h2c||",
			"200 OK|Content-Length: 0|" + date + "|X-Three: 1"},
		"hop by hop beside close": {get,
			"200 OK|" + date + "|Content-Length: 0|Connection: close, X-One|Connection: x-two|X-One: 1|X-Two: 1|X-Three: 1||",
			"200 OK|Content-Length: 0|" + date + "|X-Three: 1"},
		"hop by hop that frames": {get,
			"200 OK|" + date + "|Content-Length: 2|Connection: Content-Length, Transfer-Encoding||ok",
			"200 OK|Content-Length: 2|" + date},
		"no caching is invented": {get,
			"200 OK|" + date + "|Content-Length: 0|Pragma: no-cache||",
			"200 OK|Content-Length: 0|" + date + "|Pragma: no-cache"},
		"a space before the colon": {get,
			"200 OK|" + date + "|Content-Length : 2|X-One : 1||ok",
			"200 OK|Content-Length: 2|" + date + "|X-One: 1"},
		"of a HEAD": {"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
			"200 OK|" + date + "|Content-Length: 123456|Content-Type: a/b||",
			"200 OK|Content-Length: 123456|Content-Type: a/b|" + date},
		"of a HEAD without length": {"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
			"200 OK|" + date + "|Content-Type: a/b||",
			"200 OK|Content-Type: a/b|" + date},
		"204": {get,
			"204 No Content|" + date + "|ETag: \"1\"||",
			"204 No Content|" + date + "|Etag: \"1\""},
		"304": {get,
			"304 Not Modified|" + date + "|ETag: \"1\"|Vary: A|Cache-Control: a|Expires: 0|Content-Location: /b|Set-Cookie: a=b||",
			"304 Not Modified|Cache-Control: a|Content-Location: /b|" + date + "|Etag: \"1\"|Expires: 0|Set-Cookie: a=b|Vary: A"},
		"the close of the worker is the worker's": {get,
			"200 OK|" + date + "|Connection: close|Content-Length: 2||ok",
			"200 OK|Content-Length: 2|" + date},
		"a body that the close ends": {get,
			"200 OK|" + date + "|Connection: close||ok",
			"200 OK|" + date + "|Transfer-Encoding: chunked"},
		"length and chunks": {get,
			"200 OK|" + date + "|Content-Length: 50|Transfer-Encoding: chunked||2|ok|0||",
			"200 OK|" + date + "|Transfer-Encoding: chunked"},
		"the same length twice": {get,
			"200 OK|" + date + "|Content-Length: 2|Content-Length: 2||ok",
			"200 OK|Content-Length: 2|" + date},
		"a status nobody knows": {get,
			"799 Odd|" + date + "|Content-Length: 0||",
			"799 status code 799|Content-Length: 0|" + date},
		"an upgrade that is required": {get,
			"426 Upgrade Required|" + date + "|Connection: Upgrade|Upgrade: websocket|Content-Length: 0||",
			"426 Upgrade Required|Connection: Upgrade|Content-Length: 0|" + date + "|Upgrade: websocket"},
		"an upgrade that is required, at the end of the connection": {"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"426 Upgrade Required|" + date + "|Connection: Upgrade|Upgrade: websocket|Content-Length: 0||",
			"426 Upgrade Required|Connection: Upgrade, close|Content-Length: 0|" + date + "|Upgrade: websocket"},
	} {
		f.route.Serve(workerSending(t, "HTTP/1.1 "+strings.ReplaceAll(tt.answer, "|", "\r\n")))
		got := headOf(t, f, tt.request)
		slices.Sort(got[1:])
		if diff := cmp.Diff(strings.Split("HTTP/1.1 "+tt.want, "|"), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestARequestsHeaderIsTheClients(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	_, got := seenBy(t, f, "BREW /?a;b=%zz HTTP/1.1\r\nHost: Shop.Example:80\r\n"+
		"X-Empty:\r\nX-Eight: \xe4\xff\r\nX-Two: a\r\nX-Two: a\r\nX-List: a,  b\r\nCookie: a=1\r\nCookie: b=2\r\n"+
		"Connection: keep-alive, X-Private,, x-other\r\nX-Private: 1\r\nX-Other: 1\r\nKeep-Alive: 5\r\nTE: gzip;q=0.5, trailers\r\n"+
		"Proxy-Authorization: a\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nRange: bytes=0-1\r\nContent-Length: 0\r\nContent-Type: a/b\r\n\r\n")
	for name, want := range map[string][]string{
		"Host": {"Shop.Example:80"}, "X-Empty": {""}, "X-Eight": {"\xe4\xff"}, "X-Two": {"a", "a"}, "X-List": {"a,  b"}, "Cookie": {"a=1", "b=2"},
		"Te": {"trailers"}, "Range": {"bytes=0-1"}, "Content-Type": {"a/b"},
		"Connection": {"TE"}, "X-Private": nil, "X-Other": nil, "Keep-Alive": nil, "Proxy-Authorization": nil, "Proxy-Connection": nil, "Upgrade": nil,
		"Accept-Encoding": nil, "User-Agent": nil, "Transfer-Encoding": nil,
	} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s at the worker (-want +got):\n%s", name, diff)
		}
	}
}

// net/http makes a Cache-Control of it.
func TestNoCachingIsInventedForTheWorker(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	_, got := seenBy(t, f, "GET / HTTP/1.1\r\nHost: x\r\nPragma: no-cache\r\nConnection: close, X-Private\r\nX-Private: 1\r\n\r\n")
	if got.Get("Pragma") != "no-cache" || got["Cache-Control"] != nil || got["X-Private"] != nil {
		t.Errorf("the worker sees %v", got)
	}
}

// TestATrailerIsNotItsHeader has fields of one name in both.
func TestATrailerIsNotItsHeader(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for name, test := range map[string]struct {
		announced, sent string
		want            http.Header
	}{
		"announced":            {"Trailer: X-Sum\r\n", "X-Sum: t\r\n", http.Header{"X-Sum": {"t"}}},
		"not announced":        {"", "X-Sum: t\r\n", http.Header{"X-Sum": {"t"}}},
		"announced, not sent":  {"Trailer: X-Sum\r\n", "", http.Header{"X-Sum": nil}},
		"announced and others": {"Trailer: X-Sum, X-More\r\n", "X-Late: l\r\nX-Sum: t\r\n", http.Header{"X-Sum": {"t"}, "X-More": nil, "X-Late": {"l"}}},
		"several":              {"Trailer: X-Sum\r\n", "X-Sum: t\r\nX-Sum: u\r\n", http.Header{"X-Sum": {"t", "u"}}},
	} {
		f.route.Serve(workerSending(t, "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Sum: h\r\nX-More: h\r\nX-Late: h\r\n"+test.announced+"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"+test.sent+"\r\n"))
		resp, _ := exchangeRaw(t, f.addr(), get)
		if diff := cmp.Diff(test.want, resp.Trailer); diff != "" || resp.Header.Get("X-Sum") != "h" {
			t.Errorf("%s: header %v, trailer (-want +got):\n%s", name, resp.Header, diff)
		}
	}
	got := make(chan http.Header, 1)
	f.route.Serve(newWorker(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	}))
	exchangeRaw(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\nX-Sum: h\r\nTrailer: X-Sum, X-More\r\nX-More: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: t\r\n\r\n")
	if diff := cmp.Diff(http.Header{"X-Sum": {"t"}, "X-More": nil}, <-got); diff != "" {
		t.Errorf("trailer of the request (-want +got):\n%s", diff)
	}
}

// TestAnUpgradeOfHTTP10IsNone is RFC 9110 section 7.8.
func TestAnUpgradeOfHTTP10IsNone(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	_, got := seenBy(t, f, "GET / HTTP/1.0\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n")
	if got.Get("Upgrade")+got.Get("Connection") != "" {
		t.Errorf("the worker sees %v", got)
	}
}

func TestMethodsAndLengthsPass(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for _, tt := range []struct{ method, framing, length, coding string }{
		{"POST", "Content-Length: 0\r\n\r\n", "0", ""},
		{"PUT", "Content-Length: 0\r\n\r\n", "0", ""},
		{"PATCH", "Content-Length: 0\r\n\r\n", "0", ""},
		{"POST", "Content-Length: 4\r\n\r\nbody", "4", ""},
		{"GET", "Content-Length: 4\r\n\r\nbody", "4", ""},
		{"DELETE", "Content-Length: 4\r\n\r\nbody", "4", ""},
		{"HEAD", "Content-Length: 4\r\n\r\nbody", "4", ""},
		{"BREW", "Content-Length: 4\r\n\r\nbody", "4", ""},
		{"M-SEARCH", "\r\n", "", ""},
		{"GET", "\r\n", "", ""},
		{"GET", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "", "chunked"},
		{"POST", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", "chunked"},
	} {
		line, got := seenBy(t, f, tt.method+" /%2F?%zz HTTP/1.1\r\nHost: x\r\n"+tt.framing)
		if line != tt.method+" /%2F?%zz HTTP/1.1" || got.Get("Content-Length") != tt.length || got.Get("Transfer-Encoding") != tt.coding {
			t.Errorf("%s %q: the worker sees %q, length %q, coding %q", tt.method, tt.framing, line, got.Get("Content-Length"), got.Get("Transfer-Encoding"))
		}
	}
}

func TestUnannouncedTrailersPassToo(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	got := make(chan http.Header, 1)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got <- r.Trailer
		http.NewResponseController(w).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Late", "43")
	}))
	for _, announced := range []string{"", "Trailer: X-Hash\r\n"} {
		resp, body := exchangeRaw(t, f.addr(), "POST / HTTP/1.1\r\nHost: x\r\n"+announced+"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n"+
			"X-Hash: 41\r\nX-Late: 1\r\nX-Late: 2\r\nX-Forwarded-For: evil\r\nCookie: evil\r\nX_Under: evil\r\n\r\n")
		if body != "" || !slices.Equal(resp.Trailer.Values("X-Late"), []string{"43"}) {
			t.Errorf("%q, trailer %v", body, resp.Trailer)
		}
		if diff := cmp.Diff(http.Header{"X-Hash": {"41"}, "X-Late": {"1", "2"}}, <-got); diff != "" {
			t.Errorf("announced %q: trailer of the request (-want +got):\n%s", announced, diff)
		}
	}
}

func TestInterimResponsesOfAnyKindPass(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	const interim = "HTTP/1.1 102 Processing\r\n\r\n" +
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-A: 1\r\nConnection: X-A\r\nKeep-Alive: 5\r\n\r\n" +
		"HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n" +
		"HTTP/1.1 199 Odd\r\n\r\n"
	f.route.Serve(workerSending(t, interim+interim+interim+"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	_, r := dial(t, f.addr(), get)
	for range 3 {
		for _, want := range []string{
			"HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n", "HTTP/1.1 199 status code 199\r\n\r\n",
		} {
			if got := readHead(r); got != want {
				t.Fatalf("%q, want %q", got, want)
			}
		}
	}
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") || strings.Contains(head, "Link") || strings.Contains(head, "X-A") {
		t.Errorf("at last %q", head)
	}
	// RFC 9110 section 15.2: a client of HTTP/1.0 knows of no such thing.
	_, r = dial(t, f.addr(), "GET / HTTP/1.0\r\n\r\n")
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.0 200 OK\r\n") && !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("a client of HTTP/1.0 sees %q", head)
	}
}

func TestClientsOfHTTP10AreAnsweredAsTheyCan(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/flows" {
			w.Header().Set("Transfer-Encoding", "chunked")
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Proto, body)
	}))
	_, r := dial(t, f.addr(), "POST /flows HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbody")
	all, err := io.ReadAll(r)
	if head, body, _ := strings.Cut(string(all), "\r\n\r\n"); err != nil || strings.Contains(head, "chunked") || strings.Contains(head, "keep-alive") || body != "HTTP/1.1 body" {
		t.Errorf("%q, %v", all, err)
	}
	_, r = dial(t, f.addr(), strings.Repeat("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 2)+"GET / HTTP/1.0\r\n\r\n")
	for _, keep := range []string{"keep-alive", "keep-alive", "close"} {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if string(body) != "HTTP/1.1 " || resp.ContentLength != 9 || keep == "keep-alive" != (resp.Header.Get("Connection") == "keep-alive") {
			t.Errorf("%s: %q %v", keep, body, resp.Header)
		}
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("then %q, %v", rest, err)
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/0" {
			<-time.After(50 * time.Millisecond) // longer than the others
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s%s", r.URL.Path, body)
	}))
	var all strings.Builder
	for n := range 30 {
		switch n % 3 {
		case 0:
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", n)
		case 1:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", n)
		case 2:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", n)
		}
	}
	_, r := dial(t, f.addr(), all.String())
	for n := range 30 {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", n, err)
		}
		want := fmt.Sprintf("/%d", n)
		if n%3 > 0 {
			want += "body"
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != want {
			t.Errorf("%q, want %q", body, want)
		}
	}
}
