package worker

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// The timeouts of http.Server are absolute: they would end bodies that still move.
// So http.Server has none for bodies, and a connection has its own, which start
// again whenever something moves. The connection implements them, and not a wrapper
// of http.ResponseWriter, because handlers and net/http look for more methods than
// a wrapper can have.
//
// At the socket the only client is the server. It watches its own clients and
// closes the connection if one of them is too slow. So only the handler has a
// timeout there.

// minWriteTimeout is the least time in which a client at the port must receive
// something. Its kernel accepts much at once, and then nothing until the client has
// read most of it.
const minWriteTimeout = 30 * time.Second

// conn is a connection that moves its deadlines.
type conn struct {
	stream
	local, remote  net.Addr
	handlerTimeout time.Duration // how long a handler may neither read nor write; 0 means no limit
	start          time.Time     // when the connection was accepted
	lastActive     atomic.Int64  // when a handler last read or wrote, in nanoseconds after start; 0 without a handler
	in, out        deadline
}

// newConn returns a connection with the timeouts that r has at its port.
func newConn(c stream, local, remote net.Addr, r *Runtime) *conn {
	read, write := time.Duration(r.ReadTimeout)*time.Second, time.Duration(r.WriteTimeout)*time.Second
	n := &conn{stream: c, local: local, remote: remote, start: time.Now(), handlerTimeout: write}
	n.in.set, n.in.timeout = c.SetReadDeadline, read
	if n.out.set = c.SetWriteDeadline; write > 0 {
		n.out.timeout = max(write, minWriteTimeout)
	}
	return n
}

// stream is what a conn needs of the connection below it. net/http closes one
// direction before the other.
type stream interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// deadline is the deadline of one direction.
type deadline struct {
	timeout time.Duration // 0 means none

	mu      sync.Mutex // guards calls of set too
	set     func(time.Time) error
	userSet bool // a handler or net/http has set it, and it stays
}

// extend sets the deadline unless it is userSet, and reports whether it did.
func (d *deadline) extend(from time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.userSet || d.timeout <= 0 {
		return false
	}
	d.set(from.Add(d.timeout))
	return true
}

func (d *deadline) setByUser(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.userSet = true
	return d.set(t)
}

func (d *deadline) isUserSet() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.userSet
}

// reset allows extend to set the deadline again.
func (d *deadline) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.userSet = false
}

// startRequest is called before the handler.
func (c *conn) startRequest(r *http.Request) {
	now := time.Now()
	c.lastActive.Store(int64(now.Sub(c.start)))
	c.in.reset()
	c.out.reset()
	if r.Body != http.NoBody {
		c.in.extend(now) // for what net/http reads if the handler does not
		r.Body = body{r.Body, c}
	}
}

// endRequest is called after the handler. A handler that was late stays late, for
// the rest of the response that net/http writes.
func (c *conn) endRequest() {
	if !c.isHandlerLate() {
		c.lastActive.Store(0)
	}
}

// isHandlerLate reports whether the handler has neither read nor written for too
// long.
func (c *conn) isHandlerLate() bool {
	moved, running := c.lastActivity()
	return running && c.handlerTimeout > 0 && time.Since(moved) > c.handlerTimeout && !c.out.isUserSet()
}

// noteActivity notes that the handler has read or written.
func (c *conn) noteActivity() {
	if _, running := c.lastActivity(); running {
		c.lastActive.Store(int64(time.Since(c.start)))
	}
}

func (c *conn) lastActivity() (at time.Time, running bool) {
	moved := c.lastActive.Load()
	return c.start.Add(time.Duration(moved)), moved != 0
}

// Read implements [net.Conn]. While the response moves, it goes on waiting for the
// request's body.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.stream.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		moved, running := c.lastActivity()
		if !running || time.Since(moved) >= c.in.timeout || !c.in.extend(moved) {
			return n, err
		}
	}
}

// Write implements [net.Conn]. It fails if the client receives nothing in time, or
// the handler is late.
func (c *conn) Write(p []byte) (n int, err error) {
	err = c.writeInTime(func() (bool, error) {
		k, err := c.stream.Write(p[n:])
		n += k
		return k > 0, err
	})
	return n, err
}

// writeInTime calls write again if a deadline of ours interrupts it after it has
// written something.
func (c *conn) writeInTime(write func() (some bool, err error)) error {
	if c.isHandlerLate() {
		return os.ErrDeadlineExceeded
	}
	for {
		ours := c.out.extend(time.Now())
		some, err := write()
		c.noteActivity()
		if !ours || !some || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// SetDeadline implements [net.Conn].
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (c *conn) SetReadDeadline(t time.Time) error { return c.in.setByUser(t) }

// SetWriteDeadline implements [net.Conn].
func (c *conn) SetWriteDeadline(t time.Time) error { return c.out.setByUser(t) }

// LocalAddr returns the address of the port.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address that requests come from.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// portConn is a connection at the port. The kernel can send files on it.
type portConn struct{ *conn }

// ReadFrom implements [io.ReaderFrom].
func (c portConn) ReadFrom(r io.Reader) (n int64, err error) {
	source := r
	if l, ok := r.(*io.LimitedReader); ok {
		source = l.R
	}
	if _, ok := source.(*os.File); !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	err = c.writeInTime(func() (bool, error) {
		k, err := c.stream.(io.ReaderFrom).ReadFrom(r) // continues where it was interrupted
		n += k
		return k > 0, err
	})
	return n, err
}

// body is the body of a request.
type body struct {
	io.ReadCloser
	c *conn
}

func (b body) Read(p []byte) (int, error) {
	b.c.in.extend(time.Now())
	n, err := b.ReadCloser.Read(p)
	b.c.noteActivity()
	return n, err
}

// portListener listens at the port.
type portListener struct {
	net.Listener
	runtime *Runtime
}

func (l portListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return portConn{newConn(c.(stream), c.LocalAddr(), c.RemoteAddr(), l.runtime)}, nil
}

// socketListener listens on a Unix socket. Its connections have the addresses that
// handlers expect.
type socketListener struct {
	net.Listener
	runtime *Runtime
	port    net.Addr
}

func (l socketListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s, err := newSocketConn(c.(*net.UnixConn))
	if err != nil { // c works too
		s = c.(stream)
	}
	n := newConn(s, l.port, serverAddr, l.runtime)
	n.in.timeout, n.out.timeout = 0, 0
	return n, nil
}

// serverAddr stands for the server, which has no address at the socket.
var serverAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}

type connKey struct{}

// withConn returns a context with the connection of its requests.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.(portConn); ok {
		c = p.conn
	}
	return context.WithValue(ctx, connKey{}, c)
}

// withTimeouts returns a handler that applies the connection's timeouts.
func withTimeouts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(connKey{}).(*conn)
		c.startRequest(r)
		defer c.endRequest()
		next.ServeHTTP(w, r)
	})
}
