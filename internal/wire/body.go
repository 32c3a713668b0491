package wire

import (
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
)

// body is that of a request. A nil one is none.
type body struct {
	io.Reader
	w     *response
	left  atomic.Int64 // bytes that were not read; negative if that is not known
	ended atomic.Bool  // all of it was read

	use    sync.Mutex // held while it is read
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	b.use.Lock()
	defer b.use.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	b.w.invite()
	n, err := b.Reader.Read(p)
	b.left.Add(int64(-n))
	if err == io.EOF {
		b.end()
	}
	return n, err
}

// Close has further reads fail. What is left of the body is the server's concern.
func (b *body) Close() error {
	b.use.Lock()
	defer b.use.Unlock()
	b.closed = true
	return nil
}

// maxDrain is how much of a body is read in its handler's place, so that the
// connection can be used again.
const maxDrain = 256 << 10

// remains reports whether some of the body was not read.
func (b *body) remains() bool { return b != nil && !b.ended.Load() }

// tooLarge reports whether more remains than will be read.
func (b *body) tooLarge() bool { return b.left.Load() >= maxDrain }

// drain reads what remains if that is little, and reports whether it was all.
func (b *body) drain() bool {
	b.use.Lock()
	defer b.use.Unlock()
	if _, err := io.CopyN(io.Discard, b.Reader, maxDrain+1); err != io.EOF {
		return false
	}
	b.end()
	b.closed = true // or a handler would take it for empty
	return true
}

func (b *body) end() {
	if trailer := b.w.c.chunk.Trailer(); b.w.req.Trailer == nil {
		b.w.req.Trailer = trailer
	} else {
		maps.Copy(b.w.req.Trailer, trailer) // in the map that copies of the request have too
	}
	b.ended.Store(true)
}

// bodyReader reads the body of the request under way, without chunks.
type bodyReader struct{ c *Conn }

// minDirect is from how many bytes on a read of a body goes past the buffer.
const minDirect = 512

func (r bodyReader) Read(p []byte) (int, error) {
	c := r.c
	for {
		switch {
		case c.err != nil:
			return 0, c.err
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
			c.drop(read)
		case len(p) >= minDirect:
			n, err = c.readDirect(p)
		default:
			if n, err = c.more(); n > 0 {
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
		case c.hasty.Load() && len(c.buf) == 0 && c.err == nil && (c.part == inBody || c.part == inChunks):
			return 0, nil
		}
	}
}

// readDirect reads from the client, and keeps what follows the body.
func (c *Conn) readDirect(p []byte) (int, error) {
	into := p
	if c.part == inBody {
		into = p[:min(int64(len(p)), c.rest)]
	}
	n, err := c.receive(into)
	wrote, read := c.decode(into, into[:n])
	c.keep(into[read:n])
	return wrote, err
}

// decode reads what has come of the body, of src, into dst, which src may begin
// with. It returns how many bytes it wrote and read.
func (c *Conn) decode(dst, src []byte) (wrote, read int) {
	if c.part == inBody {
		n := copy(dst, src[:min(int64(len(src)), c.rest)])
		if c.rest -= int64(n); c.rest == 0 {
			c.passed()
		}
		return n, n
	}
	wrote, read, err := c.chunk.Decode(dst, src)
	if err != nil {
		refusal := &Refusal{Status: http.StatusBadRequest, Reason: err.Error()}
		c.err = refusal
		c.refused.Store(refusal)
	}
	if c.chunk.Over() {
		c.passed()
	}
	return wrote, read
}
