package wire

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tqserver/internal/message"
	"tqserver/internal/socket"
)

// Conn is the connection of a client. When a handler has taken it over it is read
// and written as any other.
type Conn struct {
	tcp    *net.TCPConn
	raw    syscall.RawConn
	server *Server
	remote string // the client's address

	// The reader's.
	part            part
	buf             []byte            // read and not returned yet
	pooled          *[bufferSize]byte // that buf is in, or nil
	scanned         int               // how many of them were looked at for the end of a header
	bodyLeft        int64             // bytes of the body that are still to come
	chunks          message.Chunks
	requestTemplate *http.Request // what each begins as
	head            head
	headerTimed     bool  // the time for a header has begun
	bodyErr         error // what is wrong with the next byte of a body
	bodyUnread      bool  // part of a body is, and will stay so
	resetOnClose    bool  // the client must see that its answer is not whole

	// A read of the socket.
	readStep func(fd uintptr) (done bool) // bound once, so that a read allocates nothing
	readBuf  []byte                       // nil for buf
	readN    int
	readErr  error

	// A write that ends an answer.
	writeStep    func(fd uintptr) (done bool) // bound once
	unsent       []byte                       // is left of it
	writeBlocked bool                         // the kernel has taken no more for now
	acked        uint64                       // by the client, when that was last looked at
	writeErr     error

	stage       atomic.Int32            // of its life
	refusal     atomic.Pointer[Refusal] // why a header or a body was
	idleSince   atomic.Int64            // since when no request is under way, in nanoseconds; 0 if one is
	requestRead atomic.Bool             // all of the request under way was read
	noWait      atomic.Bool             // nothing is waited for
	closed      sync.Once
	ctx         context.Context // that of the requests; ends when the client has hung up

	mu            sync.Mutex         // guards all below
	userDeadline  time.Time          // deadline for reads that was set from outside
	ownDeadline   time.Time          // the one for a header, or for the next request
	armedDeadline time.Time          // the one that is set, never later than both
	cancel        context.CancelFunc // ends leaving
	disconnectWatch
}

// The stages of a connection.
const (
	stageNew      = iota // no request has come
	stageActive          // one is under way
	stageIdle            // another one is awaited
	stageHijacked        // a handler has it
)

// part is what the next byte belongs to.
type part byte

const (
	inHead part = iota
	inBody
	inChunks
	atUpgrade       // the request is whole: who answers it decides what follows
	inOtherProtocol // another protocol, which is not looked at
	afterRefusal    // after a refusal nothing counts
)

const (
	bufferSize    = 16 << 10
	lingerTimeout = 500 * time.Millisecond
)

var bufferPool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// newConn returns a connection that waits for its first request.
func newConn(tcp *net.TCPConn, srv *Server) (*Conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{tcp: tcp, raw: raw, server: srv, remote: tcp.RemoteAddr().String(), cancel: func() {}}
	c.readStep, c.writeStep = c.readNow, c.writeNow
	return c, nil
}

// awaitRequest returns when something of a request has come, and an error when
// none will. There is no buffer as long as there is nothing to keep.
func (c *Conn) awaitRequest() error {
	for len(c.buf) == 0 {
		if n, err := c.readSocket(nil); err != nil && n == 0 {
			return err
		}
	}
	return nil
}

// Read returns what the client of a connection that was taken over sends.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.buf) > 0 {
		n := copy(p, c.buf)
		c.discard(n)
		return n, nil
	}
	return c.readSocket(p)
}

// readHead reads the header of the next request, or of one that stands for what
// is none.
func (c *Conn) readHead() (*http.Request, error) {
	for {
		c.discard(emptyLinesLen(c.buf))
		if r := c.parseRequest(c.buf); r != nil {
			return r, nil
		}
		if n, err := c.fillBuffer(); err != nil && n == 0 {
			if len(c.buf) == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.ownDeadlineExpired() {
				return nil, err
			}
			return c.refuse(&Refusal{Status: http.StatusRequestTimeout, Reason: "The request header did not arrive in time."}), nil
		}
	}
}

// emptyLinesLen returns the length of the empty lines that b begins with. Before a
// request they mean nothing (RFC 9112 section 2.2).
func emptyLinesLen(b []byte) (n int) {
	for bytes.HasPrefix(b[n:], []byte("\r\n")) {
		n += 2
	}
	return n
}

// fillBuffer reads from the client into the buffer.
func (c *Conn) fillBuffer() (int, error) {
	if len(c.buf) == 0 {
		return c.readSocket(nil)
	}
	n, err := c.readSocket(c.freeBuffer())
	c.buf = c.buf[:len(c.buf)+n]
	return n, err
}

// WithoutWaiting calls a function that reads the body of a request. Reads that would
// have to wait return nothing then, and no error.
func (c *Conn) WithoutWaiting(read func()) {
	c.noWait.Store(true)
	defer c.noWait.Store(false)
	read()
}

// readSocket reads from the client and sees to our deadlines. Into nil is into the
// buffer, which must be empty.
func (c *Conn) readSocket(into []byte) (int, error) {
	for {
		c.readBuf, c.readN, c.readErr = into, 0, nil
		err := c.raw.Read(c.readStep)
		c.readBuf = nil
		if err == nil {
			err = c.readErr
		}
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && !c.deadlineExpired() {
			continue
		}
		return c.readN, err
	}
}

func (c *Conn) readNow(fd uintptr) (done bool) {
	p := c.readBuf
	if p == nil {
		p = c.freeBuffer()
	}
	n, err := socket.Read(fd, p)
	if err != syscall.EAGAIN {
		c.readN, c.readErr = n, err
	}
	if c.readBuf == nil {
		c.buf = c.buf[:c.readN]
		c.discard(0)
	}
	return err != syscall.EAGAIN || c.noWait.Load()
}

// parseRequest goes through a parseRequest, and returns the request that it is of, or one that
// stands for it, when that can be said.
func (c *Conn) parseRequest(b []byte) *http.Request {
	most := c.server.settings.Load().MaxHeader
	b = b[:min(len(b), most)] // so that it is told the same however much more came
	end, bare := endOfHead(b, min(c.scanned, len(b)))
	switch {
	case bare:
		return c.refuse(&Refusal{Status: http.StatusBadRequest, Reason: "A header line does not end in CRLF."})
	case end == 0 && len(b) < most:
		c.scanned = len(b)
		c.startHeaderTimeout()
		return nil
	case end == 0:
		return c.refuse(headerTooLarge(b))
	}
	c.scanned = 0
	h, refusal := parseHead(b[:end])
	if refusal != nil {
		return c.refuse(refusal)
	}
	r, err := c.newRequest(b[:end], h)
	if err != nil {
		return c.refuse(&Refusal{Status: http.StatusBadRequest, Reason: "The request target is not valid."})
	}
	c.discard(end)
	c.head = h
	c.requestRead.Store(false)
	c.chunks = message.Chunks{MaxTrailer: most}
	switch {
	case h.chunked:
		c.part = inChunks
	case h.length > 0:
		c.part, c.bodyLeft = inBody, h.length
	default:
		c.requestEnded()
	}
	return r
}

// headerTooLarge refuses a header of which there is too much.
func headerTooLarge(b []byte) *Refusal {
	line, _, whole := bytes.Cut(b, []byte("\r\n"))
	method, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	r := &Refusal{
		Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "The request header is too large.",
		Method: printable(method), Target: printable(target), Accept: acceptValue(b),
	}
	if !whole {
		r.Status, r.Reason = http.StatusRequestURITooLong, "The request target is too long."
	}
	return r
}

// requestEnded notes that the request has ended, and what follows it.
func (c *Conn) requestEnded() {
	c.part = inHead
	if c.head.upgrade {
		c.part = atUpgrade
	}
	c.requestRead.Store(true)
}

// refuse returns a request that [RefusalOf] knows, in the place of one that is bad.
func (c *Conn) refuse(why *Refusal) *http.Request {
	c.refusal.Store(why)
	c.discard(len(c.buf))
	c.part = afterRefusal
	c.requestRead.Store(true)
	r := new(http.Request)
	*r = *c.requestTemplate
	r.Method, r.URL, r.RequestURI, r.Host = refusedMethod, &url.URL{Path: "/"}, "/", "refused"
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.Header, r.Body, r.Close = make(http.Header), http.NoBody, true
	return r
}

// setContext has requests made with a context.
func (c *Conn) setContext(ctx context.Context, cancel context.CancelFunc) {
	c.requestTemplate = new(http.Request).WithContext(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx, c.cancel = ctx, cancel
}

// claimIdle has the connection wait for a request no more, and reports whether it did:
// who claims it answers a request, or closes it.
func (c *Conn) claimIdle() bool { return c.idleSince.Swap(0) != 0 }

// startRequest is called when a request has come.
func (c *Conn) startRequest() {
	c.stage.Store(stageActive)
	c.setOwnDeadline(time.Time{})
	c.watchDisconnect(true)
}

// awaitNext begins to awaitNext for another request.
func (c *Conn) awaitNext() {
	c.watchDisconnect(false)
	if c.part == atUpgrade { // it was refused
		c.part = inHead
	}
	settings := c.server.settings.Load()
	c.headerTimed = len(c.buf) > 0
	if c.headerTimed {
		c.startIdle(settings.HeaderTimeout)
	} else {
		c.startIdle(settings.IdleTimeout)
	}
	c.stage.Store(stageIdle)
	c.server.connFreed(c)
}

// handOver hands the connection to a handler. From now on it is not looked at.
func (c *Conn) handOver() {
	c.stage.Store(stageHijacked)
	c.watchDisconnect(false)
	c.part = inOtherProtocol
	c.server.connFreed(c)
}

// startIdle begins to wait for a request, as long as patience lasts if it is not 0.
func (c *Conn) startIdle(timeout time.Duration) {
	now := time.Now()
	c.idleSince.Store(now.UnixNano())
	var until time.Time
	if timeout > 0 {
		until = now.Add(timeout)
	}
	c.setOwnDeadline(until)
}

// startHeaderTimeout begins to wait for the rest of a header, once.
func (c *Conn) startHeaderTimeout() {
	if c.headerTimed || c.idleSince.Load() == 0 {
		return // in the latter case the request before is still under way: wait will see to it
	}
	c.headerTimed = true
	c.setOwnDeadline(time.Now().Add(c.server.settings.Load().HeaderTimeout))
}

// Write may be called while another goroutine reads.
func (c *Conn) Write(p []byte) (int, error) { return c.tcp.Write(p) }

// CloseWrite says that nothing more will be sent.
func (c *Conn) CloseWrite() error { return c.tcp.CloseWrite() }

// endWriteTimeout is how long a client may take nothing of the end of an answer, which
// nobody else watches.
const endWriteTimeout = 30 * time.Second

// writeEnd writes the end of an answer.
func (c *Conn) writeEnd(b []byte) error {
	c.unsent, c.writeBlocked, c.writeErr = b, false, nil
	err := c.raw.Write(c.writeStep)
	for c.writeBlocked && errors.Is(err, os.ErrDeadlineExceeded) && c.clientProgressed() {
		c.tcp.SetWriteDeadline(time.Now().Add(c.server.endWriteTimeout))
		err = c.raw.Write(c.writeStep)
	}
	c.unsent = nil
	if c.writeBlocked {
		c.tcp.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return err
	}
	return c.writeErr
}

func (c *Conn) writeNow(fd uintptr) (done bool) {
	n, err := socket.Write(fd, c.unsent)
	c.unsent = c.unsent[n:]
	if err == syscall.EAGAIN {
		c.acked, _, _ = socket.Acked(fd)
		c.writeBlocked = true
		c.tcp.SetWriteDeadline(time.Now().Add(c.server.endWriteTimeout))
		return false
	}
	c.writeErr = err
	return true
}

// clientProgressed reports whether the client has taken something since that was last looked at.
func (c *Conn) clientProgressed() bool {
	taken, _, ok := c.Acked()
	moved := ok && taken > c.acked
	c.acked = taken
	return moved
}

// Acked returns how many bytes the client has acknowledged since it connected, and
// whether it has more to acknowledge of what was written. It may be called from any
// goroutine. Not every kernel knows.
func (c *Conn) Acked() (bytes uint64, more, ok bool) {
	err := c.raw.Control(func(fd uintptr) { bytes, more, ok = socket.Acked(fd) })
	return bytes, more, ok && err == nil
}

// Close may be called from any goroutine, and again.
func (c *Conn) Close() error {
	err := net.ErrClosed
	c.closed.Do(func() {
		err = c.tcp.Close()
		c.handleDisconnect()
		c.watchDisconnect(false)
		c.server.removeConn(c)
	})
	return err
}

// hasUnreadInput reports whether something has come that will not be read.
func (c *Conn) hasUnreadInput() bool {
	left := c.bodyUnread || len(c.buf) > 0
	c.raw.Control(func(fd uintptr) { left = left || socket.HasInput(fd) })
	return left
}

// linger reads what a client still sends that got its last answer. To close the
// connection before could take the answer back (RFC 9112 section 9.6).
func (c *Conn) linger() {
	c.watchDisconnect(false)
	c.tcp.CloseWrite()
	c.SetReadDeadline(time.Now().Add(lingerTimeout))
	buf := bufferPool.Get().(*[bufferSize]byte)
	defer bufferPool.Put(buf)
	for {
		if n, err := c.readSocket(buf[:]); n == 0 || err != nil {
			return
		}
	}
}

// setReset has the connection closed by a reset, when the client has taken what was
// sent, as the kernel throws the rest away.
func (c *Conn) setReset() {
	timeout := time.NewTimer(lingerTimeout)
	defer timeout.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for more := true; more; {
		select {
		case <-look.C:
			more = false
			c.raw.Control(func(fd uintptr) { _, more, _ = socket.Acked(fd) })
		case <-timeout.C:
			more = false
		}
	}
	c.tcp.SetLinger(0)
}

// LocalAddr is the server's address.
func (c *Conn) LocalAddr() net.Addr { return c.tcp.LocalAddr() }

// RemoteAddr is the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.tcp.RemoteAddr() }

// BodyRefusal returns what is wrong with the body of the request under way, as far as
// it was read. It may be called from any goroutine.
func (c *Conn) BodyRefusal() *Refusal { return c.refusal.Load() }
