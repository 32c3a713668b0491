package upstream

import (
	"io"
	"time"
)

// Duplex is a connection to a worker that has switched to another protocol.
type Duplex struct{ c *conn }

var _ io.ReadWriteCloser = (*Duplex)(nil)

// Read returns what the worker sends after its response.
func (d *Duplex) Read(p []byte) (int, error) { return d.c.reader.Read(p) }

// Write may be called while another goroutine reads.
func (d *Duplex) Write(p []byte) (int, error) { return d.c.stream.Write(p) }

// CloseWrite tells the worker that nothing more will be sent.
func (d *Duplex) CloseWrite() error { return d.c.stream.CloseWrite() }

// SetReadDeadline may be called from any goroutine.
func (d *Duplex) SetReadDeadline(t time.Time) error { return d.c.stream.SetReadDeadline(t) }

// Close may be called from any goroutine, and more than once.
func (d *Duplex) Close() error {
	d.c.close()
	return nil
}
