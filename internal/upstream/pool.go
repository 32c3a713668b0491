package upstream

import (
	"bufio"
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"tqserver/internal/socket"
)

// The pool keeps up to maxIdle idle connections, each with a buffer of readBuffer
// bytes, which is enough for most responses.
const (
	maxIdle    = 512
	readBuffer = 16 << 10
)

// Pool keeps the connections to one worker. Any goroutine may use it. It starts
// none.
type Pool struct {
	dial        func(context.Context) (net.Conn, error)
	idleTimeout time.Duration

	mu     sync.Mutex // guards the fields below
	idle   []*conn    // the longest idle one first
	sweep  *time.Timer
	closed bool
}

// NewPool returns a pool whose connections dial makes, which must return TCP or
// Unix connections. The pool closes connections that were idle for idleTimeout.
func NewPool(keep time.Duration, dial func(context.Context) (net.Conn, error)) *Pool {
	return &Pool{dial: dial, idleTimeout: keep}
}

// get returns the idle connection that was used last, or a new one. After an error
// nothing was sent.
func (p *Pool) get(ctx context.Context) (*conn, error) {
	if c := p.popIdle(); c != nil {
		return c, nil
	}
	sock, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	return newConn(p, sock)
}

func (p *Pool) popIdle() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	c := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return c
}

// release makes a connection idle, or closes it.
func (p *Pool) release(c *conn) {
	c.idleSince = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		c.close()
		return
	}
	p.idle = append(p.idle, c)
	if len(p.idle) == 1 {
		p.sweepAfterLocked(p.idleTimeout)
	}
}

func (p *Pool) sweepAfterLocked(d time.Duration) {
	if p.sweep == nil {
		p.sweep = time.AfterFunc(d, p.closeExpired)
		return
	}
	p.sweep.Reset(d)
}

// closeExpired closes connections that have been idle for too long.
func (p *Pool) closeExpired() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, n := time.Now(), 0
	for n < len(p.idle) && now.Sub(p.idle[n].idleSince) >= p.idleTimeout {
		p.idle[n].close()
		n++
	}
	p.idle = append(p.idle[:0], p.idle[n:]...)
	clear(p.idle[len(p.idle):cap(p.idle)])
	if len(p.idle) > 0 && !p.closed {
		p.sweepAfterLocked(p.idleTimeout - now.Sub(p.idle[0].idleSince))
	}
}

// Close closes the idle connections, and each other one when its exchange ends.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.sweep != nil {
		p.sweep.Stop()
	}
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
}

// stream is a connection to a worker.
type stream interface {
	net.Conn
	CloseWrite() error
}

func newConn(p *Pool, sock net.Conn) (*conn, error) {
	c := &conn{stream: sock.(stream), pool: p}
	switch s := sock.(type) {
	case *socket.Conn:
		c.await, c.control = s.Await, s.Control
	case syscall.Conn:
		raw, err := s.SyscallConn()
		if err != nil {
			sock.Close()
			return nil, err
		}
		c.await, c.control = raw.Read, raw.Control
	}
	c.readStep, c.writeStep = c.readNow, c.writeNow
	c.reader = bufio.NewReaderSize(connReader{c}, readBuffer)
	return c, nil
}
