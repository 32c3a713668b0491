package wire

// discard removes the first n bytes of the buffer, and gives the buffer back when
// it is empty.
func (c *Conn) discard(n int) {
	c.scanned = max(0, c.scanned-n)
	c.buf = c.buf[n:]
	if len(c.buf) == 0 {
		c.buf = nil
		c.releaseBuffer()
	}
}

func (c *Conn) releaseBuffer() {
	if c.pooled != nil {
		bufferPool.Put(c.pooled)
		c.pooled = nil
	}
}

func (c *Conn) appendToBuffer(b []byte) {
	for len(b) > 0 {
		n := copy(c.freeBuffer(), b)
		c.buf, b = c.buf[:len(c.buf)+n], b[n:]
	}
}

// freeBuffer returns the free space behind the buffered bytes. It is never empty.
func (c *Conn) freeBuffer() []byte {
	switch {
	case len(c.buf) < cap(c.buf):
	case len(c.buf) == 0:
		c.pooled = bufferPool.Get().(*[bufferSize]byte)
		c.buf = c.pooled[:0]
	case c.pooled != nil && len(c.buf) < bufferSize:
		c.buf = c.pooled[:copy(c.pooled[:], c.buf)]
	default:
		c.buf = append(make([]byte, 0, 2*len(c.buf)), c.buf...)
		c.releaseBuffer()
	}
	return c.buf[len(c.buf):cap(c.buf)]
}
