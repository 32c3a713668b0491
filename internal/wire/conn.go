package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is the connection of a client. Until it is hijacked, what Read returns
// are checked requests.
type Conn struct {
	tcp      *net.TCPConn
	listener *Listener

	// The reader's.
	part    part
	buf     []byte // read and not returned yet
	open    int    // how many of them may be returned
	seen    int    // how many of them were looked at for the end of a header
	rest    int64  // bytes of the body that are still to come
	chunk   chunks
	next    head
	hurried bool  // the time for a header has begun
	err     error // what is wrong with the next byte of a body

	// The writer's.
	gathers  bool
	gathered *[bufferSize]byte // written and not sent yet, or nil

	stage   atomic.Int32            // of http.ConnState
	refused atomic.Pointer[Refusal] // why a header or a body was
	waiting atomic.Int64            // since when no request is under way, in nanoseconds; 0 if one is
	whole   atomic.Bool             // all of the request under way was read
	hasty   atomic.Bool             // nothing is waited for; also read by net/http after a body that was cut
	closed  sync.Once
	leaving context.Context    // that of the requests; ends when the client has hung up
	leave   context.CancelFunc // ends it

	mu     sync.Mutex // guards all below
	theirs time.Time  // deadline for reads that was set from outside
	ours   time.Time  // the one for a header, or for the next request
	armed  time.Time  // the one that is set, never later than both
	attention
}

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
	bufferSize = 4 << 10
	maxEarly   = 64 << 10 // bytes that may come before an upgrade was agreed on
	lingerTime = 500 * time.Millisecond
)

var errEarly = errors.New("the client sent too much before its upgrade was agreed on")

var bufferPool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Read returns bytes of requests that are whole and good up to there. While it is
// not the turn of the next one, it returns nothing and no error where
// [Conn.attend] sees to what net/http reads a byte for.
func (c *Conn) Read(p []byte) (int, error) {
	if seesHangUp && len(p) == 1 && c.whole.Load() && http.ConnState(c.stage.Load()) == http.StateActive {
		return 0, nil
	}
	for len(p) > 0 {
		switch {
		case c.open > 0:
			return c.take(p), nil
		case c.err != nil:
			return 0, c.err
		}
		switch http.ConnState(c.stage.Load()) {
		case http.StateHijacked:
			c.part, c.open = inOther, len(c.buf)
		case http.StateIdle:
			if c.part == atUpgrade { // it was refused
				c.part = inHead
			}
		}
		if c.open > 0 || len(c.buf) > 0 && c.check() {
			continue
		}
		if c.err != nil {
			return 0, c.err
		}
		n, err := c.fill(p)
		if n > 0 || err != nil || c.hasty.Load() {
			return n, err
		}
	}
	return 0, nil
}

// take returns what may be returned.
func (c *Conn) take(p []byte) int {
	n := copy(p, c.buf[:c.open])
	c.open -= n
	c.drop(n)
	return n
}

// drop forgets the first bytes of the buffer, and the buffer with the last.
func (c *Conn) drop(n int) {
	c.seen = max(0, c.seen-n)
	rest := c.buf[n:]
	if len(rest) > 0 {
		c.buf = c.buf[:copy(c.buf, rest)]
		return
	}
	if cap(c.buf) == bufferSize {
		bufferPool.Put((*[bufferSize]byte)(c.buf[:bufferSize]))
	}
	c.buf = nil
}

// keep appends to the buffer.
func (c *Conn) keep(b []byte) {
	if c.buf == nil && len(b) > 0 {
		c.buf = bufferPool.Get().(*[bufferSize]byte)[:0]
	}
	c.buf = append(c.buf, b...)
}

// check opens what is good of the buffer, and reports whether there is any.
func (c *Conn) check() bool {
	if c.part == inHead {
		c.drop(emptyLines(c.buf))
	}
	c.open = c.follow(c.buf)
	return c.open > 0
}

// emptyLines returns the length of the empty lines that b begins with. Before a
// request they mean nothing (RFC 9112 section 2.2).
func emptyLines(b []byte) (n int) {
	for bytes.HasPrefix(b[n:], []byte("\r\n")) {
		n += 2
	}
	return n
}

// fill reads from the client: into p what may be returned at once, and into the
// buffer what may not.
func (c *Conn) fill(p []byte) (int, error) {
	direct := len(c.buf) == 0 && (len(p) >= 512 || c.part == inBody || c.part == inOther)
	into := p
	switch {
	case direct && c.part == inBody:
		into = p[:min(int64(len(p)), c.rest)]
	case direct:
	case len(c.buf) == 0:
		into = p[:1] // no buffer is taken before there is something to keep
	case c.part == atUpgrade && len(c.buf) >= maxEarly:
		return 0, errEarly
	default:
		if len(c.buf) == cap(c.buf) {
			c.buf = append(c.buf, 0)[:len(c.buf)]
		}
		into = c.buf[len(c.buf):cap(c.buf)]
	}
	n, err := c.receive(into)
	switch {
	case err != nil && n == 0:
		return 0, c.ended(err)
	case n == 0:
		return 0, nil
	case c.part == overParts:
		return 0, nil
	case !direct && len(c.buf) > 0:
		c.buf = c.buf[:len(c.buf)+n]
		return 0, nil
	case !direct || c.part == atUpgrade:
		c.keep(into[:n])
		return 0, nil
	}
	if c.part == inHead && into[0] == '\r' {
		c.keep(into[:n])
		return 0, nil
	}
	good := c.follow(into[:n])
	if c.part == overParts {
		return 0, nil
	}
	c.keep(into[good:n])
	return good, nil
}

// Hastily calls a function that reads the body of a request. Reads that would
// have to wait return nothing then, and no error. Where net/http reads too while a
// request is under way the function is not called.
func (c *Conn) Hastily(read func()) {
	if !seesHangUp {
		return
	}
	c.hasty.Store(true)
	defer c.hasty.Store(false)
	read()
}

// receive reads from the client and sees to our deadlines.
func (c *Conn) receive(p []byte) (int, error) {
	for {
		n, err := c.receiveNow(p)
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && !c.expired() {
			continue
		}
		return n, err
	}
}

func (c *Conn) receiveNow(p []byte) (n int, err error) {
	if !c.hasty.Load() {
		return c.tcp.Read(p)
	}
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	rawErr := raw.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), p)
		return true
	})
	switch {
	case rawErr != nil:
		return 0, rawErr
	case err == syscall.EAGAIN, err == syscall.EINTR:
		return 0, nil
	case err == nil && n == 0:
		return 0, io.EOF
	}
	return max(0, n), os.NewSyscallError("read", err)
}

// ended is what an error of reading means.
func (c *Conn) ended(err error) error {
	if c.part != inHead || !errors.Is(err, os.ErrDeadlineExceeded) || !c.overdue() {
		return err
	}
	if len(c.buf) == 0 {
		return io.EOF // for net/http, which answers other errors itself
	}
	c.refuse(&Refusal{Status: http.StatusRequestTimeout, Reason: "The header of the request did not come in time."})
	return nil
}

// follow goes through bytes that came next, and returns how many may be
// returned: none beyond the end of a request, nor beyond what is wrong.
func (c *Conn) follow(b []byte) (n int) {
	if c.part == inOther {
		return len(b)
	}
	if c.part == inHead {
		if n = c.header(b); n == 0 {
			return c.open
		}
	}
	switch c.part {
	case inBody:
		k := min(c.rest, int64(len(b)-n))
		c.rest -= k
		n += int(k)
		if c.rest == 0 {
			c.passed()
		}
	case inChunks:
		k, refusal := c.chunk.follow(b[n:], c.listener.settings.Load().MaxHeader)
		n += k
		if refusal != nil {
			c.err = refusal
			c.refused.Store(refusal)
		}
		if c.chunk.part == chunksOver {
			c.passed()
		}
	}
	return n
}

// header goes through a header, and returns its length if it is whole and good.
func (c *Conn) header(b []byte) int {
	most := c.listener.settings.Load().MaxHeader
	b = b[:min(len(b), most)] // so that it is told the same however much more came
	end, bare := endOfHead(b, min(c.seen, len(b)))
	switch {
	case bare:
		c.refuse(&Refusal{Status: http.StatusBadRequest, Reason: "A line of the header does not end in CRLF."})
		return 0
	case end == 0 && len(b) < most:
		c.seen = len(b)
		c.hurry()
		return 0
	case end == 0:
		c.refuse(tooLarge(b))
		return 0
	}
	c.seen = 0
	h, refusal := parseHead(b[:end])
	if refusal != nil {
		c.refuse(refusal)
		return 0
	}
	c.next = h
	c.whole.Store(false)
	switch {
	case h.chunked:
		c.part, c.chunk = inChunks, chunks{}
	case h.length > 0:
		c.part, c.rest = inBody, h.length
	default:
		c.passed()
	}
	return end
}

// tooLarge refuses a header of which there is too much.
func tooLarge(b []byte) *Refusal {
	line, _, whole := bytes.Cut(b, []byte("\r\n"))
	method, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	r := &Refusal{
		Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "The header of the request is too large.",
		Method: readable(method), Target: readable(target), Accept: accepted(b),
	}
	if !whole {
		r.Status, r.Reason = http.StatusRequestURITooLong, "The target of the request is too long."
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

// refuse puts a request that [Refused] knows in the place of one that is bad.
func (c *Conn) refuse(r *Refusal) {
	c.refused.Store(r)
	c.drop(len(c.buf))
	c.keep([]byte(refusedMethod + " / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n"))
	c.open, c.part = len(c.buf), overParts
	c.whole.Store(true)
}

// entered is told what net/http does with the connection.
func (c *Conn) entered(s http.ConnState) {
	c.stage.Store(int32(s))
	switch s {
	case http.StateIdle:
		c.attend(false)
		settings := c.listener.settings.Load()
		c.hurried = len(c.buf) > 0 // the reader is here
		if c.hurried {
			c.await(settings.HeaderTimeout)
		} else {
			c.await(settings.IdleTimeout)
		}
		c.listener.freed()
	case http.StateActive, http.StateHijacked:
		c.waiting.Store(0)
		c.setOurs(time.Time{})
		c.attend(s == http.StateActive)
	}
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
		return // in the latter case the request before is still under way: entered will see to it
	}
	c.hurried = true
	c.setOurs(time.Now().Add(c.listener.settings.Load().HeaderTimeout))
}

func (c *Conn) setOurs(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ours = t
	c.armLocked()
}

// SetReadDeadline may be called from any goroutine.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.theirs = t
	return c.armLocked()
}

// SetDeadline may be called from any goroutine.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.tcp.SetWriteDeadline(t))
}

func (c *Conn) dueLocked() time.Time {
	if c.ours.IsZero() || !c.theirs.IsZero() && c.theirs.Before(c.ours) {
		return c.theirs
	}
	return c.ours
}

// armLocked sets the deadline that is due next. One that comes too early is left
// in place: [Conn.expired] sees that it was not meant, which is cheaper than to
// move it, or to ask for the time, at each request.
func (c *Conn) armLocked() error {
	if c.ending {
		return nil // what is set ends the watch
	}
	due := c.dueLocked()
	if due.Equal(c.armed) || !c.armed.IsZero() && (due.IsZero() || due.After(c.armed)) {
		return nil
	}
	c.armed = due
	return c.tcp.SetReadDeadline(due)
}

// expired reports whether a deadline is over that is meant, and sets the next
// one if not.
func (c *Conn) expired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.dueLocked()
	if c.ending || !due.IsZero() && !due.After(time.Now()) {
		return true
	}
	c.armed = due
	c.tcp.SetReadDeadline(due)
	return false
}

// overdue reports whether it is our deadline that is over.
func (c *Conn) overdue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.ours.IsZero() && !c.ours.After(time.Now())
}

// Write may be called while another goroutine reads.
func (c *Conn) Write(p []byte) (int, error) {
	switch {
	case c.gathers && c.gathered == nil && len(p) == bufferSize:
		c.gathered = bufferPool.Get().(*[bufferSize]byte)
		return copy(c.gathered[:], p), nil
	case c.gathered != nil:
		if err := c.send(p); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return c.tcp.Write(p)
}

// Gather calls a function that writes, by way of net/http. Of that it sends a
// full buffer, which more follows almost always, together with what comes next.
func (c *Conn) Gather(write func() error) error {
	c.gathers = true
	err := write()
	c.gathers = false
	if c.gathered != nil {
		err = errors.Join(err, c.send(nil))
	}
	return err
}

// send sends what was gathered, and more.
func (c *Conn) send(more []byte) error {
	first := c.gathered
	c.gathered = nil
	defer bufferPool.Put(first)
	_, err := (&net.Buffers{first[:], more}).WriteTo(c.tcp)
	return err
}

// ReadFrom lets the kernel send a file.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) { return c.tcp.ReadFrom(r) }

// CloseWrite says that nothing more will be sent.
func (c *Conn) CloseWrite() error { return c.tcp.CloseWrite() }

// Close may be called from any goroutine, and again. If the client was refused
// it takes until that has read the answer, or half a second.
func (c *Conn) Close() error {
	err := net.ErrClosed
	c.closed.Do(func() {
		c.left()
		c.attend(false)
		if c.refused.Load() != nil && !c.listener.over() {
			c.linger()
		}
		err = c.tcp.Close()
		c.listener.forget(c)
	})
	return err
}

// linger reads what a refused client still sends. To close the connection before
// could take the answer back (RFC 9112 section 9.6).
func (c *Conn) linger() {
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

// LocalAddr is the server's address.
func (c *Conn) LocalAddr() net.Addr { return c.tcp.LocalAddr() }

// RemoteAddr is the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.tcp.RemoteAddr() }

// SetWriteDeadline may be called from any goroutine.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.tcp.SetWriteDeadline(t) }

// Fault returns what is wrong with the body of the request under way, as far as
// it was read. It may be called from any goroutine.
func (c *Conn) Fault() *Refusal { return c.refused.Load() }
