package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"tqserver/internal/accesslog"
)

// accessRecord returns the record of an exchange that has ended.
func (x *exchange) accessRecord() accesslog.Record {
	r := x.in.Request
	rec := accesslog.Record{
		Time: x.started, Took: time.Since(x.started),
		Method: r.Method, Target: r.RequestURI, Proto: r.Proto, Host: r.Host,
		Referer: r.Header.Get("Referer"), UserAgent: r.Header.Get("User-Agent"),
		RequestID: x.in.id, TraceID: traceOf(x.in.traceparent), Status: x.in.written.status, Bytes: x.in.written.sent.Load(),
		Route: x.in.Route, Settings: &x.policy.AccessLog,
	}
	if x.in.Client.IsValid() {
		rec.Client = x.in.Client.String()
	}
	if x.relay.backend != nil {
		rec.Upstream = x.relay.backend.Addr
	}
	if r.Method == http.MethodHead {
		rec.Bytes = 0 // none is sent
	}
	return rec
}

// traceOf returns the trace id of a traceparent that we have made.
func traceOf(traceparent string) string { return traceparent[3:35] }

// countedWriter counts what the client is sent. For what it does not do itself,
// [http.ResponseController] unwraps it.
type countedWriter struct {
	http.ResponseWriter
	status int          // 0 until one was sent that is not interim
	sent   atomic.Int64 // bytes of the body, or on the connection after an upgrade
}

// Unwrap is for [http.ResponseController].
func (a *countedWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *countedWriter) WriteHeader(status int) {
	a.setStatus(status)
	a.ResponseWriter.WriteHeader(status)
}

// setStatus notes the first status that is not interim.
func (a *countedWriter) setStatus(status int) {
	if a.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		a.status = status
	}
}

func (a *countedWriter) Write(p []byte) (int, error) {
	a.setStatus(http.StatusOK)
	n, err := a.ResponseWriter.Write(p)
	a.sent.Add(int64(n))
	return n, err
}

// ReadFrom lets the kernel copy where it can.
func (a *countedWriter) ReadFrom(r io.Reader) (int64, error) {
	a.setStatus(http.StatusOK)
	n, err := io.Copy(a.ResponseWriter, r)
	a.sent.Add(n)
	return n, err
}

func (a *countedWriter) FlushError() error {
	a.setStatus(http.StatusOK)
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Hijack takes over the client's connection for an upgrade.
func (a *countedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	a.setStatus(http.StatusSwitchingProtocols)
	return &countedConn{c, &a.sent}, rw, nil
}

// countedConn counts what is written to a connection.
type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// CloseWrite closes the connection for writing.
func (c *countedConn) CloseWrite() error { return closeWrite(c.Conn) }
