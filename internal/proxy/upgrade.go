package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"tqserver/internal/message"
	"tqserver/internal/policy"
	"tqserver/internal/recovered"
)

// switchProtocols connects the client and the worker when the whole request was sent,
// and returns when both directions have ended, or one of them failed. If it returns an
// error, the client got no response.
func (r *relaying) switchProtocols(resp *http.Response) error {
	x, protocols := r.x, upgradeOf(resp.Header)
	if !requestedAll(r.protocols, protocols) {
		return fmt.Errorf("the worker switched to %q when %q was requested", protocols, r.protocols)
	}
	r.attempt.Wait()
	if x.in.body.pending() {
		if cause := x.why(); cause != nil {
			return cause
		}
		return &refusalError{&switchedEarly}
	}
	r.prepareUpgrade(resp, protocols)
	worker := r.upgraded
	conn, rw, err := http.NewResponseController(x.in.w).Hijack()
	if err != nil {
		return fmt.Errorf("take the connection over: %w", err)
	}
	defer conn.Close()
	client := io.ReadWriteCloser(conn)
	if n := rw.Reader.Buffered(); n > 0 { // what the client sent ahead
		early, _ := rw.Reader.Peek(n)
		client = &earlyConn{Conn: conn, all: io.MultiReader(bytes.NewReader(early), conn)}
	}
	if writeHead(rw.Writer, x.in.w.Header(), resp.Header) != nil {
		return nil // the client disconnected
	}
	ended := make(chan error, 2)
	copyTo := func(to io.Writer, from io.Reader) {
		ended <- recovered.Call(func() error { return transfer(to, from) })
	}
	go copyTo(worker, client) // ends when either is closed
	go copyTo(client, worker) // the same
	first := <-ended
	if first != nil {
		conn.Close()
		worker.Close()
	}
	second := <-ended
	recovered.Rethrow(errors.Join(first, second))
	return nil
}

var switchedEarly = policy.Refusal{Status: http.StatusBadGateway, Title: "Bad gateway", Detail: "The page switched protocols before it received the request."}

// writeHead writes the response after which the client's connection is not HTTP.
func writeHead(w *bufio.Writer, headers ...http.Header) error {
	w.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	for _, h := range headers {
		if err := h.Write(w); err != nil {
			return err
		}
	}
	w.WriteString("\r\n")
	return w.Flush()
}

// upgradeOf returns the protocols that the Upgrade field names, if Connection names the
// field and all of it is well formed (RFC 9110 section 7.8).
func upgradeOf(h http.Header) (protocols []string) {
	if h["Upgrade"] == nil || !message.HasToken(h["Connection"], "upgrade") {
		return nil
	}
	for protocol := range message.Members(h["Upgrade"]) {
		name, version, versioned := strings.Cut(protocol, "/")
		if !message.IsToken(name) || versioned && !message.IsToken(version) {
			return nil
		}
		protocols = append(protocols, protocol)
	}
	return protocols
}

// requestedAll reports whether the client requested all of the protocols that a worker
// switches to.
func requestedAll(requested, protocols []string) bool {
	for _, protocol := range protocols {
		if !slices.ContainsFunc(requested, func(r string) bool { return strings.EqualFold(r, protocol) }) {
			return false
		}
	}
	return len(protocols) > 0
}

// includesHTTP2 reports whether HTTP/2 is among the protocols (RFC 7540 section 3.2,
// which RFC 9113 section 3.1 takes back). With a worker that speaks it the client would
// make further requests that the proxy does not see. An upgrade may always be ignored,
// as that of an HTTP/1.0 client must be (RFC 9110 section 7.8).
func includesHTTP2(protocols []string) bool {
	return slices.ContainsFunc(protocols, func(protocol string) bool {
		name, _, _ := strings.Cut(strings.ToLower(protocol), "/")
		return name == "h2c" || name == "h2" || name == "http"
	})
}

// transfer copies all that one side sends, and then closes the other for writing.
func transfer(to io.Writer, from io.Reader) error {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	if _, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, buf[:]); err != nil {
		return err
	}
	return closeWrite(to)
}

// earlyConn is a connection of which the first bytes were read already.
type earlyConn struct {
	net.Conn
	all io.Reader
}

func (c *earlyConn) Read(p []byte) (int, error) { return c.all.Read(p) }

// CloseWrite closes the connection for writing.
func (c *earlyConn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c any) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return http.ErrNotSupported
}
