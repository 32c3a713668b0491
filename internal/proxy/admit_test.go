package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPathsAreResolvedAsTheyAreSent(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"/":                  "/",
		"/a/b/":              "/a/b/",
		"//a//b":             "//a//b",
		"/a.b/..c/...":       "/a.b/..c/...",
		"/a%2Fb/%20/%zz":     "/a%2Fb/%20/%zz",
		"/a/.":               "/a/",
		"/a/./b":             "/a/b",
		"/a/../b":            "/b",
		"/a/..":              "/",
		"/..":                "/",
		"/../../etc":         "/etc",
		"/a/%2e%2E/b":        "/b",
		"/a/.%2e/%61":        "/%61",
		"/api/..;/admin":     "/api/..;/admin", // a name like others, unless one speaks Java
		"/a/%252e%252e/b":    "/a/%252e%252e/b",
		"/x/..//evil.com":    "//evil.com",
		"/a/..%2fb":          "",
		"/a%2f../b":          "",
		"/a%2F%2e%2e%2Fb":    "",
		"/a\\..\\b":          "",
		"/a%5c..%5Cb":        "",
		"/a%5cb\\c":          "/a%5cb\\c",
		"":                   "",
		"a":                  "",
		"/é/../ü/":           "/ü/",
		"/a/b/c/./../../g/.": "/a/g/",
	} {
		if got, ok := removeDots(sent); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", sent, got, ok)
		}
	}
}

// A path that passes has no dot segment for anybody, and none passes that Go
// would resolve to something else.
func FuzzResolve(f *testing.F) {
	f.Add("/a/%2e./b//c%2f..")
	f.Add("/a\\..%5C../b;x/..;/")
	f.Fuzz(func(t *testing.T, sent string) {
		got, ok := removeDots(sent)
		if !ok {
			return
		}
		if again, ok := removeDots(got); again != got || !ok {
			t.Fatalf("%q becomes %q and that %q, %v", sent, got, again, ok)
		}
		plain, err := url.PathUnescape(got)
		if err != nil {
			return
		}
		for segment := range strings.FieldsFuncSeq(plain, func(c rune) bool { return c == '/' || c == '\\' }) {
			if segment == "." || segment == ".." {
				t.Errorf("%q becomes %q, with dot segments", sent, got)
			}
		}
		if was, err := url.PathUnescape(sent); err == nil && !strings.Contains(was, "//") && !strings.Contains(sent, "%") {
			if want := path.Clean(was); path.Clean(plain) != want {
				t.Errorf("%q becomes %q, and by Go %q", sent, got, want)
			}
		}
	})
}

func TestNothingUndecidedReachesAWorker(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "worker saw "+r.RequestURI) }))
	for _, test := range []struct {
		send     string
		status   int
		location string
	}{
		{"GET /api/../admin?a=%zz&b", 308, "/admin?a=%zz&b"},
		{"HEAD /api/%2e%2e/admin?", 308, "/admin?"},
		{"GET http://h/a/./b", 308, "/a/b"},
		{"GET /a/../\xc3\xa4", 308, "/%C3%A4"},
		{"POST /api/../admin", 400, ""},
		{"GET /api/..%2fadmin", 400, ""},
		{"GET /x/..//evil.com", 400, ""},
		{"GET /a%2Fb", 200, ""},
		{"GET http://h", 200, ""},
		{"OPTIONS *", 200, ""},
	} {
		resp, body := exchangeRaw(t, f.addr(), test.send+" HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
		if resp.StatusCode != test.status || resp.Header.Get("Location") != test.location {
			t.Errorf("%s: %d to %q, %s", test.send, resp.StatusCode, resp.Header.Get("Location"), body)
		}
		if saw := strings.HasPrefix(body, "worker saw"); saw != (test.status == 200 && !strings.HasSuffix(test.send, "*")) {
			t.Errorf("%s: %s", test.send, body)
		}
		if resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("Traceparent") == "" {
			t.Errorf("%s: the response has no name: %v", test.send, resp.Header)
		}
	}
}

func TestARefusedRequestIsAnsweredInOurForm(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	for send, status := range map[string]int{
		"POST / HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n": 400,
		"CONNECT h:1 HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n\r\n":                                      405,
		"GET / HTTP/3.0\r\nAccept: application/json\r\n\r\n":                                                       505,
	} {
		resp, body := exchangeRaw(t, f.addr(), send)
		h := resp.Header
		if resp.StatusCode != status || !resp.Close || h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" || h.Get("X-Request-Id") == "" {
			t.Errorf("%q: %d %v %s", send, resp.StatusCode, h, body)
		}
		if (h.Get("Allow") != "") != (status == 405) {
			t.Errorf("%q: Allow is %q", send, h.Get("Allow"))
		}
	}
}

func TestNamesWithUnderscoresAreDropped(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		var names []string
		for name := range r.Header {
			if strings.HasPrefix(name, "A") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		fmt.Fprint(w, names)
	}))
	if _, body := exchangeRaw(t, f.addr(), "GET / HTTP/1.1\r\nHost: h\r\nA_B: 1\r\nA-C: 2\r\na_: 3\r\n\r\n"); body != "[A-C]" {
		t.Errorf("the worker saw %s", body)
	}
}

func TestABodyInBadChunksIsTheClientsFault(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	read := make(chan error, 1)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	}))
	for _, body := range []string{"3\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\nX\r\n\r\n", "0\r\nX: a\n\r\n", "x"} {
		for _, pause := range []bool{false, true} {
			c, r := dial(t, f.addr(), "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
			if pause {
				eventually(t, "the worker has the request", func() bool { return f.route.Traffic().InFlight > 0 })
			}
			io.WriteString(c, body)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("%q: %v", body, err)
			}
			if resp.StatusCode != 400 || !resp.Close {
				t.Errorf("%q: %d, %v", body, resp.StatusCode, resp.Header)
			}
			select { // it may not have got as far as to the worker
			case err := <-read:
				if err == nil {
					t.Errorf("%q: the worker read a whole body", body)
				}
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// TestMaxForwardsIsSpent is RFC 9110 section 7.6.2.
func TestMaxForwardsIsSpent(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q", r.Method, r.Header["Max-Forwards"])
	}))
	for _, tt := range []struct {
		method, fields string
		status         int
		want           string // that the worker saw
	}{
		{"OPTIONS", "Max-Forwards: 0\r\n", 200, ""},
		{"OPTIONS", "Max-Forwards: 000\r\n", 200, ""},
		{"TRACE", "Max-Forwards: 0\r\n", 405, ""},
		{"OPTIONS", "Max-Forwards: 1\r\n", 200, `OPTIONS ["0"]`},
		{"TRACE", "Max-Forwards: 10\r\n", 200, `TRACE ["9"]`},
		{"OPTIONS", "Max-Forwards: 99999999999999999999\r\n", 200, `OPTIONS ["2147483647"]`},
		{"OPTIONS", "Max-Forwards: x\r\n", 200, `OPTIONS ["x"]`},
		{"OPTIONS", "", 200, `OPTIONS []`},
		{"GET", "Max-Forwards: 0\r\n", 200, `GET ["0"]`},
		{"BREW", "Max-Forwards: 3\r\n", 200, `BREW ["3"]`},
	} {
		resp, body := exchangeRaw(t, f.addr(), tt.method+" / HTTP/1.1\r\nHost: h\r\n"+tt.fields+"\r\n")
		if resp.StatusCode != tt.status || tt.want != "" && body != tt.want || tt.want == "" && (strings.HasPrefix(body, tt.method) || resp.Header.Get("Allow") == "") {
			t.Errorf("%s, %q: %d %q, Allow %q", tt.method, tt.fields, resp.StatusCode, body, resp.Header.Get("Allow"))
		}
	}
}

// With a worker that speaks HTTP/2 the client would ask further than anybody
// here looks.
func TestNoClientGetsHTTP2WithAWorker(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header["Connection"], r.Header["Upgrade"], r.Header["Http2-Settings"])
	}))
	for upgrade, want := range map[string]string{
		"h2c": "[] [] []", "H2C": "[] [] []", "websocket, h2c": "[] [] []", "h2c/1": "[] [] []", "h2": "[] [] []", "HTTP/2.0": "[] [] []",
		"websocket": "[Upgrade] [websocket] []", "my-h2c": "[Upgrade] [my-h2c] []",
	} {
		send := "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: " + upgrade + "\r\n\r\n"
		if _, body := exchangeRaw(t, f.addr(), send); body != want {
			t.Errorf("%s: the worker saw %s", upgrade, body)
		}
	}
}

func TestAnEmptyHostStaysEmpty(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%q", r.Host) }))
	for _, send := range []string{"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"} {
		if _, body := exchangeRaw(t, f.addr(), send); body != `""` {
			t.Errorf("%q: the worker saw %s", send, body)
		}
	}
}
