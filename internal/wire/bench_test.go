package wire

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// BenchmarkKeepAlive compares requests on one connection with net/http's server and
// with this one.
func BenchmarkKeepAlive(b *testing.B) {
	ask := "GET /some/path?with=a&query=1 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
		"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\nCookie: session=0123456789abcdef\r\n\r\n"
	post := "POST /some/path HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello"
	for _, side := range []string{"net/http", "wire"} {
		for method, send := range map[string]string{"GET": ask, "POST": post} {
			b.Run(side+"/"+method, func(b *testing.B) {
				tcp, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					io.WriteString(w, "hello")
				})
				var serving sync.WaitGroup
				defer serving.Wait()
				if side == "wire" {
					srv := Listen(tcp, generous, func(error, int) {})
					serving.Go(func() { srv.Serve(b.Context(), handler, func(error) {}) }) // ends with srv
					defer srv.Close()
				} else {
					srv := &http.Server{Handler: handler, IdleTimeout: generous.IdleTimeout, ReadHeaderTimeout: generous.HeaderTimeout}
					serving.Go(func() { srv.Serve(tcp) }) // ends with srv
					defer srv.Close()
				}
				c, err := net.Dial("tcp", tcp.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				r := bufio.NewReader(c)
				b.ReportAllocs()
				for b.Loop() {
					io.WriteString(c, send)
					discardResponse(b, r)
				}
			})
		}
	}
}

// discardResponse reads a response whose body is hello.
func discardResponse(b *testing.B, r *bufio.Reader) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if len(line) == 2 {
			r.Discard(len("hello"))
			return
		}
	}
}
