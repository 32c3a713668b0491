package proxy

import (
	"net"
	"sync"
)

// workerConn is a connection to a worker. net/http gives one back for the next
// request before it looks whether the worker said more than it should have, and
// that would be taken for the next answer. When it asks for more bytes it has
// used up all it had.
type workerConn struct {
	*net.TCPConn
	mu      sync.Mutex // guards all below
	changed sync.Cond
	reading bool
	closed  bool
}

func newWorkerConn(c *net.TCPConn) *workerConn {
	w := &workerConn{TCPConn: c}
	w.changed.L = &w.mu
	return w
}

// settle waits until all that came is used up, or the connection is closed
// because it was not.
func (c *workerConn) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.reading && !c.closed {
		c.changed.Wait()
	}
}

func (c *workerConn) Read(p []byte) (int, error) {
	c.note(true)
	n, err := c.TCPConn.Read(p)
	c.note(false)
	return n, err
}

func (c *workerConn) note(reading bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reading = reading; reading {
		c.changed.Broadcast()
	}
}

func (c *workerConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.changed.Broadcast()
	c.mu.Unlock()
	return c.TCPConn.Close()
}
