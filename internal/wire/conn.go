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
	part    part
	buf     []byte            // read and not returned yet
	space   *[bufferSize]byte // that buf is in, or nil
	seen    int               // how many of them were looked at for the end of a header
	rest    int64             // bytes of the body that are still to come
	chunk   message.Chunks
	blank   *http.Request // what each begins as
	next    head
	hurried bool  // the time for a header has begun
	err     error // what is wrong with the next byte of a body
	unread  bool  // part of a body is, and will stay so
	reset   bool  // the client must see that its answer is not whole

	// A read of the socket.
	receives func(fd uintptr) (done bool) // bound once, so that a read allocates nothing
	into     []byte                       // nil for buf
	got      int
	failed   error

	// A write that ends an answer.
	sends func(fd uintptr) (done bool) // bound once
	last  []byte                       // is left of it
	waits bool                         // the kernel has taken no more for now
	taken uint64                       // by the client, when that was last looked at
	lost  error

	stage   atomic.Int32            // of its life
	refused atomic.Pointer[Refusal] // why a header or a body was
	waiting atomic.Int64            // since when no request is under way, in nanoseconds; 0 if one is
	whole   atomic.Bool             // all of the request under way was read
	hasty   atomic.Bool             // nothing is waited for
	closed  sync.Once
	leaving context.Context // that of the requests; ends when the client has hung up

	mu     sync.Mutex         // guards all below
	theirs time.Time          // deadline for reads that was set from outside
	ours   time.Time          // the one for a header, or for the next request
	armed  time.Time          // the one that is set, never later than both
	leave  context.CancelFunc // ends leaving
	attention
}

// The stages of a connection.
const (
	fresh    = iota // no request has come
	active          // one is under way
	idle            // another one is awaited
	hijacked        // a handler has it
)

// part is what the next byte belongs to.
type part byte

const (
	inHead part = iota
	inBody
	inChunks
	atUpgrade // the request is whole: who answers it decides what follows
	inOther   // another protocol, which is not looked at
	overParts // after a refusal nothing counts
)

const (
	bufferSize = 16 << 10
	lingerTime = 500 * time.Millisecond
)

var bufferPool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// newConn returns a connection that waits for its first request.
func newConn(tcp *net.TCPConn, srv *Server) (*Conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{tcp: tcp, raw: raw, server: srv, remote: tcp.RemoteAddr().String(), leave: func() {}}
	c.receives, c.sends = c.receiveFrom, c.sendTo
	return c, nil
}

// awaitRequest returns when something of a request has come, and an error when
// none will. There is no buffer as long as there is nothing to keep.
func (c *Conn) awaitRequest() error {
	for len(c.buf) == 0 {
		if n, err := c.receive(nil); err != nil && n == 0 {
			return err
		}
	}
	return nil
}

// Read returns what the client of a connection that was taken over sends.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.buf) > 0 {
		n := copy(p, c.buf)
		c.drop(n)
		return n, nil
	}
	return c.receive(p)
}

// readHead reads the header of the next request, or of one that stands for what
// is none.
func (c *Conn) readHead() (*http.Request, error) {
	for {
		c.drop(emptyLines(c.buf))
		if r := c.header(c.buf); r != nil {
			return r, nil
		}
		if n, err := c.more(); err != nil && n == 0 {
			if len(c.buf) == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.overdue() {
				return nil, err
			}
			return c.refuse(&Refusal{Status: http.StatusRequestTimeout, Reason: "The request header did not arrive in time."}), nil
		}
	}
}

// emptyLines returns the length of the empty lines that b begins with. Before a
// request they mean nothing (RFC 9112 section 2.2).
func emptyLines(b []byte) (n int) {
	for bytes.HasPrefix(b[n:], []byte("\r\n")) {
		n += 2
	}
	return n
}

// more reads from the client into the buffer.
func (c *Conn) more() (int, error) {
	if len(c.buf) == 0 {
		return c.receive(nil)
	}
	n, err := c.receive(c.spare())
	c.buf = c.buf[:len(c.buf)+n]
	return n, err
}

// WithoutWaiting calls a function that reads the body of a request. Reads that would
// have to wait return nothing then, and no error.
func (c *Conn) WithoutWaiting(read func()) {
	c.hasty.Store(true)
	defer c.hasty.Store(false)
	read()
}

// receive reads from the client and sees to our deadlines. Into nil is into the
// buffer, which must be empty.
func (c *Conn) receive(into []byte) (int, error) {
	for {
		c.into, c.got, c.failed = into, 0, nil
		err := c.raw.Read(c.receives)
		c.into = nil
		if err == nil {
			err = c.failed
		}
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && !c.expired() {
			continue
		}
		return c.got, err
	}
}

func (c *Conn) receiveFrom(fd uintptr) (done bool) {
	p := c.into
	if p == nil {
		p = c.spare()
	}
	n, err := socket.Read(fd, p)
	if err != syscall.EAGAIN {
		c.got, c.failed = n, err
	}
	if c.into == nil {
		c.buf = c.buf[:c.got]
		c.drop(0)
	}
	return err != syscall.EAGAIN || c.hasty.Load()
}

// header goes through a header, and returns the request that it is of, or one that
// stands for it, when that can be said.
func (c *Conn) header(b []byte) *http.Request {
	most := c.server.settings.Load().MaxHeader
	b = b[:min(len(b), most)] // so that it is told the same however much more came
	end, bare := endOfHead(b, min(c.seen, len(b)))
	switch {
	case bare:
		return c.refuse(&Refusal{Status: http.StatusBadRequest, Reason: "A header line does not end in CRLF."})
	case end == 0 && len(b) < most:
		c.seen = len(b)
		c.hurry()
		return nil
	case end == 0:
		return c.refuse(tooLarge(b))
	}
	c.seen = 0
	h, refusal := parseHead(b[:end])
	if refusal != nil {
		return c.refuse(refusal)
	}
	r, err := c.newRequest(b[:end], h)
	if err != nil {
		return c.refuse(&Refusal{Status: http.StatusBadRequest, Reason: "The request target is not valid."})
	}
	c.drop(end)
	c.next = h
	c.whole.Store(false)
	c.chunk = message.Chunks{MaxTrailer: most}
	switch {
	case h.chunked:
		c.part = inChunks
	case h.length > 0:
		c.part, c.rest = inBody, h.length
	default:
		c.passed()
	}
	return r
}

// tooLarge refuses a header of which there is too much.
func tooLarge(b []byte) *Refusal {
	line, _, whole := bytes.Cut(b, []byte("\r\n"))
	method, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	r := &Refusal{
		Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "The request header is too large.",
		Method: readable(method), Target: readable(target), Accept: accepted(b),
	}
	if !whole {
		r.Status, r.Reason = http.StatusRequestURITooLong, "The request target is too long."
	}
	return r
}

// passed notes that the request has ended, and what follows it.
func (c *Conn) passed() {
	c.part = inHead
	if c.next.upgrade {
		c.part = atUpgrade
	}
	c.whole.Store(true)
}

// refuse returns a request that [RefusalOf] knows, in the place of one that is bad.
func (c *Conn) refuse(why *Refusal) *http.Request {
	c.refused.Store(why)
	c.drop(len(c.buf))
	c.part = overParts
	c.whole.Store(true)
	r := new(http.Request)
	*r = *c.blank
	r.Method, r.URL, r.RequestURI, r.Host = refusedMethod, &url.URL{Path: "/"}, "/", "refused"
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.Header, r.Body, r.Close = make(http.Header), http.NoBody, true
	return r
}

// begin has requests made with a context.
func (c *Conn) begin(ctx context.Context, leave context.CancelFunc) {
	c.blank = new(http.Request).WithContext(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving, c.leave = ctx, leave
}

// claim has the connection wait for a request no more, and reports whether it did:
// who claims it answers a request, or closes it.
func (c *Conn) claim() bool { return c.waiting.Swap(0) != 0 }

// activate is called when a request has come.
func (c *Conn) activate() {
	c.stage.Store(active)
	c.setOurs(time.Time{})
	c.attend(true)
}

// wait begins to wait for another request.
func (c *Conn) wait() {
	c.attend(false)
	if c.part == atUpgrade { // it was refused
		c.part = inHead
	}
	settings := c.server.settings.Load()
	c.hurried = len(c.buf) > 0
	if c.hurried {
		c.await(settings.HeaderTimeout)
	} else {
		c.await(settings.IdleTimeout)
	}
	c.stage.Store(idle)
	c.server.freed(c)
}

// hijack hands the connection to a handler. From now on it is not looked at.
func (c *Conn) hijack() {
	c.stage.Store(hijacked)
	c.attend(false)
	c.part = inOther
	c.server.freed(c)
}

// await begins to wait for a request, as long as patience lasts if it is not 0.
func (c *Conn) await(patience time.Duration) {
	now := time.Now()
	c.waiting.Store(now.UnixNano())
	var until time.Time
	if patience > 0 {
		until = now.Add(patience)
	}
	c.setOurs(until)
}

// hurry begins to wait for the rest of a header, once.
func (c *Conn) hurry() {
	if c.hurried || c.waiting.Load() == 0 {
		return // in the latter case the request before is still under way: wait will see to it
	}
	c.hurried = true
	c.setOurs(time.Now().Add(c.server.settings.Load().HeaderTimeout))
}

// Write may be called while another goroutine reads.
func (c *Conn) Write(p []byte) (int, error) { return c.tcp.Write(p) }

// CloseWrite says that nothing more will be sent.
func (c *Conn) CloseWrite() error { return c.tcp.CloseWrite() }

// lastWrite is how long a client may take nothing of the end of an answer, which
// nobody else watches.
const lastWrite = 30 * time.Second

// finish writes the end of an answer.
func (c *Conn) finish(b []byte) error {
	c.last, c.waits, c.lost = b, false, nil
	err := c.raw.Write(c.sends)
	for c.waits && errors.Is(err, os.ErrDeadlineExceeded) && c.takes() {
		c.tcp.SetWriteDeadline(time.Now().Add(c.server.patience))
		err = c.raw.Write(c.sends)
	}
	c.last = nil
	if c.waits {
		c.tcp.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return err
	}
	return c.lost
}

func (c *Conn) sendTo(fd uintptr) (done bool) {
	n, err := socket.Write(fd, c.last)
	c.last = c.last[n:]
	if err == syscall.EAGAIN {
		c.taken, _, _ = socket.Acked(fd)
		c.waits = true
		c.tcp.SetWriteDeadline(time.Now().Add(c.server.patience))
		return false
	}
	c.lost = err
	return true
}

// takes reports whether the client has taken something since that was last looked at.
func (c *Conn) takes() bool {
	taken, _, ok := c.Acked()
	moved := ok && taken > c.taken
	c.taken = taken
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
		c.left()
		c.attend(false)
		c.server.forget(c)
	})
	return err
}

// unanswered reports whether something has come that will not be read.
func (c *Conn) unanswered() bool {
	left := c.unread || len(c.buf) > 0
	c.raw.Control(func(fd uintptr) { left = left || socket.HasInput(fd) })
	return left
}

// linger reads what a client still sends that got its last answer. To close the
// connection before could take the answer back (RFC 9112 section 9.6).
func (c *Conn) linger() {
	c.attend(false)
	c.tcp.CloseWrite()
	c.SetReadDeadline(time.Now().Add(lingerTime))
	buf := bufferPool.Get().(*[bufferSize]byte)
	defer bufferPool.Put(buf)
	for {
		if n, err := c.receive(buf[:]); n == 0 || err != nil {
			return
		}
	}
}

// breakOff has the connection closed by a reset, when the client has taken what was
// sent, as the kernel throws the rest away.
func (c *Conn) breakOff() {
	patience := time.NewTimer(lingerTime)
	defer patience.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for more := true; more; {
		select {
		case <-look.C:
			more = false
			c.raw.Control(func(fd uintptr) { _, more, _ = socket.Acked(fd) })
		case <-patience.C:
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
func (c *Conn) BodyRefusal() *Refusal { return c.refused.Load() }
