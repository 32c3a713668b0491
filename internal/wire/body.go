package wire

import (
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
)

// body is the body of a request. A nil body is empty.
type body struct {
	io.Reader
	w      *response
	unread atomic.Int64 // bytes that were not read; negative if unknown
	done   atomic.Bool  // the whole body was read

	mu     sync.Mutex // held during a read
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	b.w.writeContinue()
	n, err := b.Reader.Read(p)
	b.unread.Add(int64(-n))
	if err == io.EOF {
		b.finish()
	}
	return n, err
}

// Close makes further reads fail. The server deals with the rest of the body.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// maxDrain is how much of a body the server reads if the handler has not, so that
// the connection can be used again.
const maxDrain = 256 << 10

// hasUnread reports whether a part of the body was not read.
func (b *body) hasUnread() bool { return b != nil && !b.done.Load() }

// exceedsDrain reports whether more is left than the server will read.
func (b *body) exceedsDrain() bool { return b.unread.Load() >= maxDrain }

// drain reads the rest of the body if it is short, and reports whether it reached
// the end.
func (b *body) drain() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := io.CopyN(io.Discard, b.Reader, maxDrain+1); err != io.EOF {
		return false
	}
	b.finish()
	b.closed = true // else a handler would take the body for empty
	return true
}

func (b *body) finish() {
	if trailer := b.w.c.chunks.Trailer(); b.w.req.Trailer == nil {
		b.w.req.Trailer = trailer
	} else {
		maps.Copy(b.w.req.Trailer, trailer) // copies of the request share this map
	}
	b.done.Store(true)
}

// bodyReader reads the body of the current request and removes its chunk framing.
type bodyReader struct{ c *Conn }

// minDirect is the smallest read of a body that bypasses the buffer.
const minDirect = 512

func (r bodyReader) Read(p []byte) (int, error) {
	c := r.c
	for {
		switch {
		case c.bodyErr != nil:
			return 0, c.bodyErr
		case c.part != inBody && c.part != inChunks:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		var n int
		var err error
		switch {
		case len(c.buf) > 0:
			var read int
			n, read = c.decode(p, c.buf)
			c.discard(read)
		case len(p) >= minDirect:
			n, err = c.readDirect(p)
		default:
			if n, err = c.fillBuffer(); n > 0 {
				continue
			}
		}
		switch {
		case n > 0 && c.part != inBody && c.part != inChunks:
			return n, io.EOF
		case n > 0:
			return n, nil
		case err == io.EOF:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case c.noWait.Load() && len(c.buf) == 0 && c.bodyErr == nil && (c.part == inBody || c.part == inChunks):
			return 0, nil
		}
	}
}

// readDirect reads from the client into p and keeps what follows the body in the
// buffer.
func (c *Conn) readDirect(p []byte) (int, error) {
	into := p
	if c.part == inBody {
		into = p[:min(int64(len(p)), c.bodyLeft)]
	}
	n, err := c.readSocket(into)
	wrote, read := c.decode(into, into[:n])
	c.appendToBuffer(into[read:n])
	return wrote, err
}

// decode copies the part of the body in src to dst, which may overlap the beginning
// of src. It returns how many bytes it wrote and read.
func (c *Conn) decode(dst, src []byte) (wrote, read int) {
	if c.part == inBody {
		n := copy(dst, src[:min(int64(len(src)), c.bodyLeft)])
		if c.bodyLeft -= int64(n); c.bodyLeft == 0 {
			c.requestEnded()
		}
		return n, n
	}
	wrote, read, err := c.chunks.Decode(dst, src)
	if err != nil {
		refusal := &Refusal{Status: http.StatusBadRequest, Reason: err.Error()}
		c.bodyErr = refusal
		c.refusal.Store(refusal)
	}
	if c.chunks.Done() {
		c.requestEnded()
	}
	return wrote, read
}
