package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"tqserver/internal/upstream"
)

// endTimeout is how long a stream that we end may take to end well. The supervisor
// allows 500 ms after the end of a drain.
const endTimeout = 400 * time.Millisecond

// upgradedConn is the connection to the worker after an upgrade.
type upgradedConn struct {
	*upstream.Duplex
	x      *exchange
	frames *frames       // nil if it is no WebSocket
	why    atomic.Uint32 // the Ending, when it is we who end it
	until  time.Time     // when the frame under way must have come then
	closed bool          // the close frame was handed on
}

// endStream has Read return the rest of the frame under way and then a close frame.
func (c *upgradedConn) endStream(why EndReason) {
	c.why.Store(uint32(why))
	c.SetReadDeadline(past)
}

// Read reads what the worker sends. If endStream was called, a close frame comes last.
// The client's response to it still goes to the worker.
func (c *upgradedConn) Read(p []byte) (int, error) {
	for {
		why := EndReason(c.why.Load())
		switch {
		case c.closed:
			return 0, io.EOF
		case why != 0 && c.frames.atBoundary() && len(p) >= 4:
			c.closed = true
			c.x.in.control.SetReadDeadline(time.Now().Add(endTimeout))
			return copy(p, binary.BigEndian.AppendUint16([]byte{0x88, 2}, uint16(why))), nil
		case why != 0 && c.until.IsZero():
			c.until = time.Now().Add(endTimeout)
		}
		if why != 0 {
			c.SetReadDeadline(c.until)
		}
		c.x.stall.moved() // what was read before was written
		n, err := c.Duplex.Read(p)
		c.x.stall.moved()
		switch {
		case c.frames == nil:
		case c.why.Load() != 0: // also if it came when the read was under way
			n = c.frames.follow(p[:n])
		default:
			c.frames.followAll(p[:n])
		}
		interrupted := n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.why.Load() != 0
		if !interrupted || !c.until.IsZero() && !time.Now().Before(c.until) {
			return n, err
		}
	}
}

func (c *upgradedConn) Write(p []byte) (int, error) {
	n, err := c.Duplex.Write(p)
	c.x.stall.moved()
	return n, err
}

// frames follows the frames of a WebSocket (RFC 6455 section 5.2).
type frames struct {
	head   [14]byte
	have   int    // bytes of the header
	left   uint64 // bytes of the payload still to come
	closed bool   // a close frame went by
}

// atBoundary reports whether a frame has ended and another may follow.
func (f *frames) atBoundary() bool { return f.have == 0 && f.left == 0 && !f.closed }

// followAll follows all bytes.
func (f *frames) followAll(b []byte) {
	for len(b) > 0 {
		b = b[f.follow(b):]
	}
}

// follow follows bytes to the end of a frame at most, and returns how many.
func (f *frames) follow(b []byte) (n int) {
	for f.left == 0 && n < len(b) {
		f.head[f.have] = b[n]
		f.have++
		n++
		if f.have < 2 || f.have < f.headLen() {
			continue
		}
		f.have = 0
		f.closed = f.closed || f.head[0]&0x0f == 8
		switch length := f.head[1] & 0x7f; length {
		case 126:
			f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
		case 127:
			f.left = binary.BigEndian.Uint64(f.head[2:])
		default:
			f.left = uint64(length)
		}
		if f.left == 0 {
			return n
		}
	}
	payload := min(f.left, uint64(len(b)-n))
	f.left -= payload
	return n + int(payload)
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
