package wire

// drop forgets the first bytes of the buffer, and the buffer with the last.
func (c *Conn) drop(n int) {
	c.seen = max(0, c.seen-n)
	c.buf = c.buf[n:]
	if len(c.buf) == 0 {
		c.buf = nil
		c.giveSpace()
	}
}

func (c *Conn) giveSpace() {
	if c.space != nil {
		bufferPool.Put(c.space)
		c.space = nil
	}
}

// keep appends to the buffer.
func (c *Conn) keep(b []byte) {
	for len(b) > 0 {
		n := copy(c.spare(), b)
		c.buf, b = c.buf[:len(c.buf)+n], b[n:]
	}
}

// spare returns what is free behind the buffer, which is never nothing.
func (c *Conn) spare() []byte {
	switch {
	case len(c.buf) < cap(c.buf):
	case len(c.buf) == 0:
		c.space = bufferPool.Get().(*[bufferSize]byte)
		c.buf = c.space[:0]
	case c.space != nil && len(c.buf) < bufferSize:
		c.buf = c.space[:copy(c.space[:], c.buf)]
	default:
		c.buf = append(make([]byte, 0, 2*len(c.buf)), c.buf...)
		c.giveSpace()
	}
	return c.buf[len(c.buf):cap(c.buf)]
}
