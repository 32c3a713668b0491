package wire

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// testTimeout limits how long a test waits.
const testTimeout = 30 * time.Second

var generous = Settings{HeaderTimeout: 2 * testTimeout, IdleTimeout: 2 * testTimeout, MaxHeader: 64 << 10, MaxConnections: 100}

// testServer is a server that responds with what it read of each request, or why it
// refused it.
type testServer struct {
	*testing.T
	server *Server
	mu     sync.Mutex
	saw    []string // accepted requests
}

func startServer(t *testing.T, s Settings, handler http.HandlerFunc) *testServer {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveWith(t, Listen(tcp, s, func(err error, n int) { t.Log(err, n) }), handler)
}

func serveWith(t *testing.T, srv *Server, handler http.HandlerFunc) *testServer {
	d := &testServer{T: t, server: srv}
	if handler == nil {
		handler = d.echo
	}
	var serving sync.WaitGroup
	serving.Go(func() { // ends with srv
		if err := srv.Serve(t.Context(), handler, func(err error) { t.Error(err) }); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { srv.Close(); serving.Wait() })
	return d
}

func (d *testServer) echo(w http.ResponseWriter, r *http.Request) {
	if refusal := RefusalOf(r); refusal != nil {
		w.Header().Set("Connection", "close")
		http.Error(w, "refused: "+refusal.Reason, refusal.Status)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.Header().Set("Connection", "close")
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	d.saw = append(d.saw, r.Method+" "+r.RequestURI)
	d.mu.Unlock()
	fmt.Fprintf(w, "%s %s %s|%s", r.Method, r.RequestURI, r.Host, body)
}

func (d *testServer) dial() (net.Conn, *bufio.Reader) {
	d.Helper()
	c, err := net.Dial("tcp", d.server.Addr().String())
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testTimeout))
	return c, bufio.NewReader(c)
}

// responses sends bytes in pieces and returns the status and body of each response
// until the connection ends.
func (d *testServer) responses(pieces ...string) (all []string) {
	d.Helper()
	c, r := d.dial()
	go func() { // ends with c
		for _, piece := range pieces {
			io.WriteString(c, piece)
		}
		c.(*net.TCPConn).CloseWrite()
	}()
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return all
		}
		body, _ := io.ReadAll(resp.Body)
		all = append(all, fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(body))))
	}
}

// victim is a request pipelined behind another.
const victim = "GET /victim HTTP/1.1\r\nHost: v\r\n\r\n"

func TestGoodRequestsPassAndEndWhereTheyEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ send, want string }{
		"plain":                 {"GET /a?b=%zz HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a?b=%zz h|"},
		"empty line before":     {"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / h|"},
		"length":                {"POST / HTTP/1.1\r\nHost: h:80\r\nContent-Length: 5\r\n\r\nGET /", "POST / h:80|GET /"},
		"length 0":              {"POST / HTTP/1.1\r\nHost: h\r\ncontent-LENGTH:\t0 \r\n\r\n", "POST / h|"},
		"chunks":                {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0a;x=\"y\"\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n", "POST / h|abc0123456789"},
		"chunks, none":          {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n000\r\n\r\n", "POST / h|"},
		"own method":            {"PURGE / HTTP/1.1\r\nHost: h\r\n\r\n", "PURGE / h|"},
		"absolute":              {"GET http://other/x HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://other/x other|"},
		"IPv6":                  {"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "GET / [::1]:8080|"},
		"empty host":            {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / |"},
		"star":                  {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * h|"},
		"8 bit value":           {"GET / HTTP/1.1\r\nHost: h\r\nX-Name: J\xfcrgen\r\nX-Empty:\r\n\r\n", "GET / h|"},
		"expectation":           {"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 0\r\n\r\n", "POST / h|"},
		"trailer of no chunks":  {"GET / HTTP/1.1\r\nHost: h\r\nTrailer: Content-Length\r\n\r\n", "GET / h|"},
		"GET with a body":       {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "GET / h|abc"},
		"upgrade, not answered": {"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n\r\n", "GET / h|"},
		"encoded":               {"GET /%2e%2E/%c3%a4 HTTP/1.1\r\nHost: h\r\n\r\n", "GET /%2e%2E/%c3%a4 h|"},
		"large header":          {"GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 60000) + "\r\n\r\n", "GET / h|"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startServer(t, generous, nil)
			want := []string{"200 " + test.want, "200 GET /victim v|"}
			if got := d.responses(test.send + victim); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("in one piece: %q", got)
			}
			if got := d.responses(strings.Split(test.send+victim, "")...); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("byte by byte: %q", got)
			}
		})
	}
}

func TestHTTP10IsSupported(t *testing.T) {
	t.Parallel()
	d := startServer(t, generous, nil)
	for _, head := range []string{"GET / HTTP/1.0\r\n\r\n", "POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab"} {
		if got := d.responses(head); len(got) != 1 || !strings.HasPrefix(got[0], "200 ") {
			t.Errorf("%q: %q", head, got)
		}
	}
}

// badRequests are headers that are refused, with the status.
var badRequests = map[string]struct {
	send   string
	status int
}{
	"length and chunks":        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"chunks and length":        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n", 400},
	"two lengths":              {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc", 400},
	"two equal lengths":        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
	"list of lengths":          {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc", 400},
	"signed length":            {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", 400},
	"negative length":          {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -3\r\n\r\nabc", 400},
	"hexadecimal length":       {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x3\r\n\r\nabc", 400},
	"empty length":             {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\nabc", 400},
	"huge length":              {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\nabc", 400},
	"length with a space":      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc", 400},
	"two encodings":            {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"list of encodings":        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
	"chunked twice":            {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400},
	"empty encoding":           {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 400},
	"encoding in quotes":       {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400},
	"encoding with a tab":      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400},
	"unknown encoding":         {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
	"identity":                 {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", 501},
	"encoding before a colon":  {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
	"folded encoding":          {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400},
	"trailer with a length":    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X, content-length\r\n\r\n0\r\n\r\n", 400},
	"trailer with an encoding": {"POST / HTTP/1.1\r\nHost: h\r\ntrailer: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"trailer of trailers":      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nTrailer: Trailer\r\n\r\n0\r\n\r\n", 400},
	"chunks in HTTP/1.0":       {"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"folded line":              {"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400},
	"folded first line":        {"GET / HTTP/1.1\r\n X: a\r\nHost: h\r\n\r\n", 400},
	"name with a space":        {"GET / HTTP/1.1\r\nHost: h\r\nX Y: a\r\n\r\n", 400},
	"name with a NUL":          {"GET / HTTP/1.1\r\nHost: h\r\nX\x00Y: a\r\n\r\n", 400},
	"empty name":               {"GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n", 400},
	"no colon":                 {"GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", 400},
	"value with a NUL":         {"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", 400},
	"value with a CR":          {"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb: c\r\n\r\n", 400},
	"line that ends in LF":     {"GET / HTTP/1.1\nHost: h\n\n", 400},
	"one line that ends in LF": {"POST / HTTP/1.1\r\nHost: h\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"two hosts":                {"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400},
	"no host":                  {"GET / HTTP/1.1\r\n\r\n", 400},
	"host with a path":         {"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", 400},
	"host with a user":         {"GET / HTTP/1.1\r\nHost: a@h\r\n\r\n", 400},
	"host with a wrong port":   {"GET / HTTP/1.1\r\nHost: h:x\r\n\r\n", 400},
	"list of hosts":            {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	"host of wrong IPv6":       {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
	"CONNECT":                  {"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 405},
	"HTTP/2":                   {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	"HTTP/1":                   {"GET / HTTP/1\r\nHost: h\r\n\r\n", 400},
	"HTTP/0.9":                 {"GET /\r\n\r\n", 400},
	"two spaces":               {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"target with a space":      {"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"target with a fragment":   {"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"target without a slash":   {"GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"target of another scheme": {"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"target with a user":       {"GET http://a:b@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"star that is a GET":       {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"encoded NUL":              {"GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"wrong encoding":           {"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"cut encoding":             {"GET /%2 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"method with a slash":      {"GE/T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"other expectation":        {"POST / HTTP/1.1\r\nHost: h\r\nExpect: more\r\nContent-Length: 3\r\n\r\nabc", 417},
	"header too large":         {"GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 70000) + "\r\n\r\n", 431},
	"many fields":              {"GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 20000) + "\r\n", 431},
	"target too long":          {"GET /" + strings.Repeat("x", 70000) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
	"TLS":                      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
}

func TestBadHeadersAreRefusedInTheirTurn(t *testing.T) {
	t.Parallel()
	for name, test := range badRequests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startServer(t, generous, nil)
			first := "GET /first HTTP/1.1\r\nHost: h\r\n\r\n"
			got := d.responses(first + test.send + victim)
			if len(got) != 2 || got[0] != "200 GET /first h|" || !strings.HasPrefix(got[1], fmt.Sprint(test.status, " refused: ")) {
				t.Errorf("in one piece: %.200q", got)
			}
			if len(test.send) < 1000 {
				if got := d.responses(strings.Split(test.send+victim, "")...); len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprint(test.status, " refused: ")) {
					t.Errorf("byte by byte: %q", got)
				}
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if fmt.Sprint(d.saw) != "[GET /first]" {
				t.Errorf("the handler saw %q", d.saw)
			}
		})
	}
}

func TestBadChunksEndTheBodyWithAnError(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"size ends in LF":         "3\nabc\r\n0\r\n\r\n",
		"chunk ends in LF":        "3\r\nabc\n0\r\n\r\n",
		"last size ends in LF":    "3\r\nabc\r\n0\n\r\n",
		"end in LF":               "3\r\nabc\r\n0\r\n\n",
		"extension with LF":       "3;\nabc\r\n0\r\n\r\n",
		"extension with CR":       "3;a\rb\r\nabc\r\n0\r\n\r\n",
		"longer than its size":    "3\r\nabcd\r\n0\r\n\r\n",
		"no size":                 "\r\nabc\r\n0\r\n\r\n",
		"negative size":           "-3\r\nabc\r\n0\r\n\r\n",
		"size with 0x":            "0x3\r\nabc\r\n0\r\n\r\n",
		"size with a space":       "3 \r\nabc\r\n0\r\n\r\n",
		"size after a space":      " 3\r\nabc\r\n0\r\n\r\n",
		"size of 17 digits":       "00000000000000003\r\nabc\r\n0\r\n\r\n",
		"huge size":               "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
		"long extension":          "3;" + strings.Repeat("x", 300) + "\r\nabc\r\n0\r\n\r\n",
		"folded trailer":          "0\r\nX: a\r\n b\r\n\r\n",
		"trailer that is none":    "0\r\nX\r\n\r\n",
		"trailer with an LF":      "0\r\nX: a\n\r\n",
		"trailer that is large":   "0\r\nX: " + strings.Repeat("x", 70000) + "\r\n\r\n",
		"another request in size": "GET / HTTP/1.1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startServer(t, generous, nil)
			send := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body + victim
			for _, pieces := range [][]string{{send}, strings.Split(send[:min(len(send), 1000)], "")} {
				if len(send) > 1000 && len(pieces) > 1 {
					continue
				}
				if got := d.responses(pieces...); len(got) != 1 || !strings.HasPrefix(got[0], "400 ") {
					t.Errorf("%d pieces: %q", len(pieces), got)
				}
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if len(d.saw) > 0 {
				t.Errorf("the handler saw %q", d.saw)
			}
		})
	}
}

// The headers in this test are not large: each field costs memory in addition to
// its bytes.
func TestTheNumberOfFieldsIsBounded(t *testing.T) {
	t.Parallel()
	fields := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "z%d:\r\n", i)
		}
		return b.String()
	}
	names := strings.ReplaceAll(fields(257), ":\r\n", ",")
	post := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
	d := startServer(t, generous, nil)
	for name, test := range map[string]struct{ send, want string }{
		"as many as there may be":     {"GET / HTTP/1.1\r\nHost: h\r\n" + fields(255) + "\r\n", "200 "},
		"one more":                    {"GET / HTTP/1.1\r\nHost: h\r\n" + fields(256) + "\r\n", "431 "},
		"of one name":                 {"GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 256) + "\r\n", "431 "},
		"64 kB of them":               {"GET / HTTP/1.1\r\nHost: h\r\n" + fields(9300)[:64000] + "\r\n\r\n", "431 "},
		"one too many, and malformed": {"GET / HTTP/1.1\r\nHost: h\r\n" + fields(256) + "X Y: z\r\n\r\n", "400 "},
		"in a trailer":                {post + "\r\n0\r\n" + fields(256) + "\r\n", "200 "},
		"one more in a trailer":       {post + "\r\n0\r\n" + fields(257) + "\r\n", "400 "},
		"announced":                   {post + "Trailer: " + names + "\r\n\r\n0\r\n\r\n", "431 "},
	} {
		if got := d.responses(test.send); len(got) != 1 || !strings.HasPrefix(got[0], test.want) {
			t.Errorf("%s: %.100q, want %s", name, got, test.want)
		}
	}
}

// This is what a request keeps in memory while it waits.
func TestARequestIsNotMuchLargerThanItsBytes(t *testing.T) {
	var fields strings.Builder
	for i := range 255 {
		fmt.Fprintf(&fields, "z%d: %s\r\n", i, strings.Repeat("x", 240))
	}
	b := []byte("GET / HTTP/1.1\r\nHost: h\r\n" + fields.String() + "\r\n")
	h, refusal := parseHead(b)
	if refusal != nil {
		t.Fatal(refusal)
	}
	c := &Conn{requestTemplate: new(http.Request)}
	const times = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		c.newRequest(b, h)
	}
	runtime.ReadMemStats(&after)
	took := int64(after.TotalAlloc-before.TotalAlloc) / times
	if took > 2*int64(len(b)) {
		t.Errorf("a request of %d bytes takes %d", len(b), took)
	}
}
