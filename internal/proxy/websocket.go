package proxy

import (
	"encoding/binary"
	"io"
)

// upgradedConn is the connection to the worker after an upgrade.
type upgradedConn struct {
	io.ReadWriteCloser
	x      *exchange
	frames *frames // nil if it is no WebSocket
	closed bool    // the close frame was handed on
}

// Read reads what the worker sends. When it is we who end the connection a
// close frame comes last, if the bytes before it are whole frames.
func (c *upgradedConn) Read(p []byte) (int, error) {
	if c.closed {
		return 0, io.EOF
	}
	n, err := c.ReadWriteCloser.Read(p)
	c.x.moved()
	if c.frames == nil {
		return n, err
	}
	c.frames.pass(p[:n])
	if why, ours := c.x.ending(); err != nil && ours && n == 0 && c.frames.whole() && len(p) >= 4 {
		c.closed = true
		return copy(p, binary.BigEndian.AppendUint16([]byte{0x88, 2}, uint16(why))), nil
	}
	return n, err
}

func (c *upgradedConn) Write(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Write(p)
	c.x.moved()
	return n, err
}

// frames follows the frames of a WebSocket (RFC 6455 section 5.2).
type frames struct {
	head   [14]byte
	have   int    // bytes of the header
	left   uint64 // bytes of the payload still to come
	closed bool   // a close frame went by
}

// whole reports whether the last byte was the last of a frame, and another
// frame may follow.
func (f *frames) whole() bool { return f.have == 0 && f.left == 0 && !f.closed }

func (f *frames) pass(b []byte) {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(b)))
			f.left -= n
			b = b[n:]
			continue
		}
		f.head[f.have] = b[0]
		f.have++
		b = b[1:]
		if f.have < 2 || f.have < f.headLen() {
			continue
		}
		f.closed = f.closed || f.head[0]&0x0f == 8
		switch length := f.head[1] & 0x7f; length {
		case 126:
			f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
		case 127:
			f.left = binary.BigEndian.Uint64(f.head[2:])
		default:
			f.left = uint64(length)
		}
		f.have = 0
	}
}

func (f *frames) headLen() int {
	n := 2
	switch f.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.head[1]&0x80 != 0 {
		n += 4
	}
	return n
}
