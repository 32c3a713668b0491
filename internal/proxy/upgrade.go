package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// switchProtocols hands a client's connection and the worker's to one another,
// behind the whole request, and returns when both directions have ended, or one of
// them failed. If it returns an error the client was not answered.
func (x *exchange) switchProtocols(resp *http.Response) error {
	if got := upgradeOf(resp.Header); x.asked == "" || !strings.EqualFold(x.asked, got) {
		return fmt.Errorf("the worker switched to %q when %q was asked for", got, x.asked)
	}
	x.attempt.Wait()
	if x.body.pending() {
		if cause := x.why(); cause != nil {
			return cause
		}
		return &refusalError{&switchedEarly}
	}
	worker := x.beginUpgraded(resp)
	conn, rw, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return fmt.Errorf("take the connection over: %w", err)
	}
	defer conn.Close()
	client := io.ReadWriteCloser(conn)
	if n := rw.Reader.Buffered(); n > 0 { // what the client sent ahead
		early, _ := rw.Reader.Peek(n)
		client = &earlyConn{Conn: conn, all: io.MultiReader(bytes.NewReader(early), conn)}
	}
	if writeHead(rw.Writer, x.w.Header(), resp) != nil {
		return nil // the client left
	}
	ended := make(chan error, 2)
	go func() { ended <- transfer(worker, client) }() // ends when either is closed
	go func() { ended <- transfer(client, worker) }() // the same
	if <-ended == nil {
		<-ended
		return nil
	}
	conn.Close()
	worker.Close()
	<-ended
	return nil
}

var switchedEarly = Refusal{Status: http.StatusBadGateway, Title: "Bad gateway", Detail: "The page switched to another protocol before it had the request."}

// writeHead writes the answer after which the client's connection is no HTTP.
func writeHead(w *bufio.Writer, ours http.Header, resp *http.Response) error {
	fmt.Fprintf(w, "HTTP/1.1 %s\r\n", resp.Status)
	for _, h := range []http.Header{ours, resp.Header} {
		if err := h.Write(w); err != nil {
			return err
		}
	}
	w.WriteString("\r\n")
	return w.Flush()
}

// transfer copies to its end what one side sends, and says so to the other.
func transfer(to io.Writer, from io.Reader) error {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	if _, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, buf[:]); err != nil {
		return err
	}
	return closeWrite(to)
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
