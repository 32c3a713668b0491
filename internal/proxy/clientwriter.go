package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
)

// clientWriter is where the client's answer is written. It does what neither
// httputil.ReverseProxy nor net/http do.
type clientWriter struct {
	http.ResponseWriter
	http10  bool
	expects bool // a 100, which net/http may write at any moment, with no lock against others
}

// Unwrap is for http.ResponseController.
func (w *clientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader leaves out what is not for the client, and has net/http not guess
// a type where the worker names none.
func (w *clientWriter) WriteHeader(status int) {
	h := w.Header()
	switch interim := status < 200 && status != http.StatusSwitchingProtocols; {
	case interim && w.http10: // RFC 9110 section 15.2
		return
	case interim && w.expects && status != http.StatusContinue:
		return
	case interim:
		removeHops(h)
	case h["Content-Type"] == nil:
		h["Content-Type"] = nil
	}
	w.ResponseWriter.WriteHeader(status)
}

// Hijack takes the connection over, and what the client sent ahead comes first
// on it.
func (w *clientWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil || rw.Reader.Buffered() == 0 {
		return conn, rw, err
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	return &earlyConn{Conn: conn, all: io.MultiReader(bytes.NewReader(early), conn)}, rw, nil
}

// earlyConn is a connection of which some was read.
type earlyConn struct {
	net.Conn
	all io.Reader
}

func (c *earlyConn) Read(p []byte) (int, error) { return c.all.Read(p) }

// CloseWrite tells the client that nothing more comes.
func (c *earlyConn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c any) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return http.ErrNotSupported
}

// hops are the fields that are of one connection (RFC 9110 section 7.6.1).
var hops = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

func removeHops(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hops {
		h.Del(name)
	}
}
