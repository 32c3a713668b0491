package wire

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tqserver/internal/message"
	"tqserver/internal/socket"
)

// Conn is the connection of a client. After a handler has hijacked it, the handler
// reads and writes it like any other connection.
type Conn struct {
	tcp    *net.TCPConn
	raw    syscall.RawConn
	server *Server
	remote string // the client's address

	// For the goroutine that reads.
	part            part
	buf             []byte            // was read and not consumed yet
	pooled          *[bufferSize]byte // the array that buf is in, or nil
	scanned         int               // bytes of buf that were searched for the end of a header
	bodyLeft        int64             // bytes of the body that have not arrived
	chunks          message.Chunks
	requestTemplate *http.Request // copied for each request
	head            head
	headerTimed     bool  // the time for a header has started
	bodyErr         error // what is wrong with the next byte of the body
	bodyUnread      bool  // a part of the body will stay unread
	resetOnClose    bool  // the client must see that its response was cut short

	// For readSocket.
	readStep func(fd uintptr) (done bool) // readNow, bound once so that a read does not allocate
	readBuf  []byte                       // nil means buf
	readN    int
	readErr  error

	// For writeEnd.
	writeStep    func(fd uintptr) (done bool) // writeNow, bound once
	unsent       []byte                       // the rest of the bytes
	writeBlocked bool                         // the kernel has no buffer space
	acked        uint64                       // what Acked last returned
	writeErr     error

	stage       atomic.Int32            // one of the stages below
	refusal     atomic.Pointer[Refusal] // why a header or a body was refused
	idleSince   atomic.Int64            // in nanoseconds; 0 during a request
	requestRead atomic.Bool             // the current request was read to its end
	noWait      atomic.Bool             // reads return at once
	closed      sync.Once
	ctx         context.Context // of the requests; cancelled when the client disconnects

	mu            sync.Mutex         // guards the fields below
	userDeadline  time.Time          // of reads, set by a handler
	ownDeadline   time.Time          // of a header, or of the next request
	armedDeadline time.Time          // the one that is set; never later than both
	cancel        context.CancelFunc // cancels ctx
	disconnectWatch
}

// Stages of a connection.
const (
	stageNew      = iota // no request has arrived
	stageActive          // during a request
	stageIdle            // between requests
	stageHijacked        // a handler owns the connection
)

// part says what the next byte belongs to.
type part byte

const (
	inHead part = iota
	inBody
	inChunks
	atUpgrade       // the request has ended; the response decides what follows
	inOtherProtocol // another protocol
	afterRefusal    // nothing is read any more
)

const bufferSize = 16 << 10

var bufferPool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// newConn returns a connection without a request.
func newConn(tcp *net.TCPConn, srv *Server) (*Conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{tcp: tcp, raw: raw, server: srv, remote: tcp.RemoteAddr().String(), cancel: func() {}}
	c.readStep, c.writeStep = c.readNow, c.writeNow
	return c, nil
}

// awaitRequest waits for the first bytes of a request. There is no buffer before
// they arrive.
func (c *Conn) awaitRequest() error {
	for len(c.buf) == 0 {
		if n, err := c.readSocket(nil); err != nil && n == 0 {
			return err
		}
	}
	return nil
}

// Read returns what the client of a hijacked connection sends.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.buf) > 0 {
		n := copy(p, c.buf)
		c.discard(n)
		return n, nil
	}
	return c.readSocket(p)
}

func (c *Conn) fillBuffer() (int, error) {
	if len(c.buf) == 0 {
		return c.readSocket(nil)
	}
	n, err := c.readSocket(c.freeBuffer())
	c.buf = c.buf[:len(c.buf)+n]
	return n, err
}

// WithoutWaiting calls a function in which reads of the request's body return what
// has arrived, perhaps nothing, without an error.
func (c *Conn) WithoutWaiting(read func()) {
	c.noWait.Store(true)
	defer c.noWait.Store(false)
	read()
}

// readSocket reads from the client and observes the deadlines. If p is nil it reads
// into the buffer, which must be empty.
func (c *Conn) readSocket(p []byte) (int, error) {
	for {
		c.readBuf, c.readN, c.readErr = p, 0, nil
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

// setContext sets the context of the requests.
func (c *Conn) setContext(ctx context.Context, cancel context.CancelFunc) {
	c.requestTemplate = new(http.Request).WithContext(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx, c.cancel = ctx, cancel
}

// claimIdle ends the wait for a request and reports whether there was one. Whoever
// claims a connection serves the request, or closes the connection.
func (c *Conn) claimIdle() bool { return c.idleSince.Swap(0) != 0 }

// startRequest starts the request that has arrived.
func (c *Conn) startRequest() {
	c.stage.Store(stageActive)
	c.setOwnDeadline(time.Time{})
	c.startDisconnectWatch()
}

// awaitNext ends a request and makes the connection wait for the next one.
func (c *Conn) awaitNext() {
	c.stopDisconnectWatch()
	if c.part == atUpgrade { // the response did not switch protocols
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

// handOver gives the connection to a handler.
func (c *Conn) handOver() {
	c.stage.Store(stageHijacked)
	c.stopDisconnectWatch()
	c.part = inOtherProtocol
	c.server.connFreed(c)
}

// startIdle makes the connection wait for a request. A timeout of 0 means none.
func (c *Conn) startIdle(timeout time.Duration) {
	now := time.Now()
	c.idleSince.Store(now.UnixNano())
	var until time.Time
	if timeout > 0 {
		until = now.Add(timeout)
	}
	c.setOwnDeadline(until)
}

// startHeaderTimeout starts the time for the rest of a header, once.
func (c *Conn) startHeaderTimeout() {
	if c.headerTimed || c.idleSince.Load() == 0 {
		return // if a request is active, awaitNext sets the deadline
	}
	c.headerTimed = true
	c.setOwnDeadline(time.Now().Add(c.server.settings.Load().HeaderTimeout))
}

// Write may be called while another goroutine reads.
func (c *Conn) Write(p []byte) (int, error) { return c.tcp.Write(p) }

// CloseWrite tells the client that nothing more will be sent.
func (c *Conn) CloseWrite() error { return c.tcp.CloseWrite() }

// LocalAddr returns the server's address.
func (c *Conn) LocalAddr() net.Addr { return c.tcp.LocalAddr() }

// RemoteAddr returns the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.tcp.RemoteAddr() }

// BodyRefusal returns what is wrong with the body of the current request, as far as
// it was read, or nil. It may be called from any goroutine.
func (c *Conn) BodyRefusal() *Refusal { return c.refusal.Load() }
