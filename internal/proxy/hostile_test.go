package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// hostile are requests of 60 kB that ask for work again and again, each of which
// is to cost about as much as any other of that size.
func hostile() map[string]string {
	const size = 60 << 10
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	// distinct are names of which no two are equal.
	distinct := func() string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, "z%d,", i)
		}
		return b.String()
	}
	var fields strings.Builder
	for i := range 240 {
		fmt.Fprintf(&fields, "z%d: 1\r\n", i)
	}
	get := func(fields string) string { return "GET / HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n" }
	return map[string]string{
		"plain":                         get("X: " + fill("x") + "\r\n"),
		"commas in Connection":          get("Connection: " + fill(",")[:size-fields.Len()] + "\r\n" + fields.String()),
		"names in Connection":           get("Connection: " + distinct()[:size-fields.Len()] + "\r\n" + fields.String()),
		"lines of Connection":           get(strings.Repeat("Connection: "+strings.Repeat("z1,", 120)+"\r\n", 150) + "z1: 1\r\n"),
		"commas in TE":                  get("TE: " + fill(",") + "\r\n"),
		"protocols in Upgrade":          get("Connection: upgrade\r\nUpgrade: " + distinct() + "\r\n"),
		"names in Trailer":              "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: " + distinct() + "\r\n\r\n0\r\n\r\n",
		"more fields than there may be": get(fill("z: 1\r\n")),
		"addresses that forwarded":      get("X-Forwarded-For: " + fill("127.0.0.1,") + "\r\n"),
		"commas that forwarded":         get("X-Forwarded-For: " + fill(",") + "\r\n"),
		"media ranges in Accept":        get("Accept: " + fill("a/b;q=0.1;q=0.2,") + "\r\n"),
		"members of a tracestate":       get("Traceparent: 00-00112233445566778899aabbccddeeff-0011223344556677-00\r\nTracestate: " + fill(",") + "\r\n"),
		"spaces in a value":             get("X: " + fill(" ") + "x\r\n"),
		"empty lines":                   fill("\r\n") + get(""),
		"dots in the path":              "GET /" + fill("./") + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"encoded dots in the path":      "GET /" + fill("a/%2e%2e/") + "x HTTP/1.1\r\nHost: x\r\n\r\n",
		"slashes encoded in a path":     "GET /" + fill("%2f") + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"fields of one name":            get(strings.Repeat("Cookie: "+strings.Repeat("c", 200)+"\r\n", 240)),
	}
}

// hostileFront is a front for them, and a function that sends one and reads the
// answer.
func hostileFront(tb testing.TB) (send func(request string)) {
	s := generous
	s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	f := newFront(tb, s)
	f.route.Serve(newRawWorker(tb, func(_ int, c net.Conn, r *bufio.Reader) {
		c.SetDeadline(time.Time{})
		for readHead(r) != "" {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
	}))
	return func(request string) {
		c, r := dial(tb, f.addr(), request)
		defer c.Close()
		if _, err := http.ReadResponse(r, nil); err != nil {
			tb.Fatalf("%.60q: %v", request, err)
		}
	}
}

// TestAHostileHeaderCostsWhatAnyOtherDoes compares each with a plain one, in
// turns, by the shortest of several times.
func TestAHostileHeaderCostsWhatAnyOtherDoes(t *testing.T) {
	send := hostileFront(t)
	took := func(request string) time.Duration {
		began := time.Now()
		send(request)
		return time.Since(began)
	}
	all := hostile()
	for name, request := range all {
		plain, cost := time.Hour, time.Hour
		for range 7 {
			plain = min(plain, took(all["plain"]))
			cost = min(cost, took(request))
		}
		if cost > 20*plain {
			t.Errorf("%s: %v, and a plain header %v", name, cost, plain)
		}
	}
}

// hostileResponses are headers of 900 kB that a worker may send.
func hostileResponses() map[string]string {
	const size = 900 << 10
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	fields := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "z%d: 1\r\n", i)
		}
		return b.String()
	}
	answer := func(fields string) string {
		return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + fields + "\r\n"
	}
	return map[string]string{
		"plain":                         answer("X: " + fill("x") + "\r\n"),
		"commas in Connection":          answer(fields(240) + "Connection: " + fill(",") + "\r\n"),
		"a name in Connection":          answer(fields(240) + "Connection: " + fill("z239,") + "\r\n"),
		"commas in Upgrade":             answer("Connection: upgrade\r\nUpgrade: " + fill(",") + "\r\n"),
		"commas in Trailer":             answer("Transfer-Encoding: chunked\r\nTrailer: "+fill(",")+"\r\n") + "0\r\n\r\n",
		"a name in Trailer":             answer("Transfer-Encoding: chunked\r\nTrailer: "+fill("z,")+"\r\n") + "0\r\n\r\n",
		"a line in many":                answer("X: y\r\n" + fill(" \r\n")),
		"spaces before a line ends":     answer("X: " + fill(" ") + "\r\n x\r\n"),
		"more fields than there may be": answer(fill("z: 1\r\n")),
		"trailers":                      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + fill("x") + "\r\n\r\n",
		"extensions":                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + fill("1;"+strings.Repeat("x", 1000)+"\r\na\r\n") + "0\r\n\r\n",
	}
}

func TestAHostileResponseCostsWhatAnyOtherDoes(t *testing.T) {
	f := newFront(t, generous)
	all := hostileResponses()
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, all[r.Header.Get("X-Which")])
	}))
	took := func(name string) time.Duration {
		began := time.Now()
		c, r := dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nX-Which: "+name+"\r\nConnection: close\r\n\r\n")
		defer c.Close()
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return time.Since(began)
	}
	for name := range all {
		plain, cost := time.Hour, time.Hour
		for range 7 {
			plain = min(plain, took("plain"))
			cost = min(cost, took(name))
		}
		if cost > 20*plain {
			t.Errorf("%s: %v, and a plain header %v", name, cost, plain)
		}
	}
}

func BenchmarkHostileHeader(b *testing.B) {
	send := hostileFront(b)
	for name, request := range hostile() {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.SetBytes(int64(len(request)))
			b.ReportAllocs()
			for b.Loop() {
				send(request)
			}
		})
	}
}
