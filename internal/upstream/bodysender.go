package upstream

import (
	"bufio"
	"errors"
	"io"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/recovered"
)

// endWriteTimeout is how long the last bytes of a request may take after its
// response has ended, so that the connection can be kept.
const endWriteTimeout = 50 * time.Millisecond

var errLength = errors.New("the request body does not have the announced length")

// bodySender sends the body of a request.
type bodySender struct {
	done      chan struct{} // closed when it has finished; nil if it was not started
	wantsBody chan bool     // whether the worker wants the body; nil if it was not asked
	allRead   atomic.Bool   // the body was read to its end
	err       atomic.Pointer[error]
	allSent   bool // written before done is closed
}

// start starts to send the body, after the header was sent.
func (s *bodySender) start(c *conn, x *Exchange) {
	s.done = make(chan struct{})
	if x.ContinueAfter > 0 {
		s.wantsBody = make(chan bool, 1)
	}
	go func() { // ends with the body, or when a read of it or a write fails
		defer close(s.done)
		if !s.awaitWanted(x.ContinueAfter) {
			return
		}
		if err := recovered.Call(func() error { return s.send(c, x) }); err == nil {
			s.allSent = true
		} else if !errors.As(err, new(*writeError)) { // the response says more about those
			s.err.Store(&err)
			c.close()
		}
	}()
}

// awaitWanted waits until it is known whether the worker wants the body.
func (s *bodySender) awaitWanted(timeout time.Duration) bool {
	if s.wantsBody == nil {
		return true
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case wants := <-s.wantsBody:
		return wants
	case <-t.C:
		return true
	}
}

// setWanted notes whether the worker wants the body. Only the first call counts.
func (s *bodySender) setWanted(wants bool) {
	select {
	case s.wantsBody <- wants:
	default:
	}
}

// isComplete reports whether the whole body was sent.
func (s *bodySender) isComplete() bool {
	switch {
	case s.done == nil:
		return true
	case !s.allRead.Load():
		return false
	}
	t := time.NewTimer(endWriteTimeout)
	defer t.Stop()
	select {
	case <-s.done:
		return s.allSent
	case <-t.C:
		return false
	}
}

var bufferPool = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// send sends the body, each piece as soon as it was read.
func (s *bodySender) send(c *conn, x *Exchange) error {
	buf := bufferPool.Get().(*[32 << 10]byte)
	defer bufferPool.Put(buf)
	if x.Length < 0 {
		return s.sendChunks(c, x, buf[:])
	}
	for left := x.Length - int64(len(x.BodyStart)); ; {
		n, err := x.Body.Read(buf[:])
		left -= int64(n)
		s.allRead.Store(err == io.EOF)
		switch {
		case left < 0, left > 0 && err == io.EOF:
			return errLength
		case err != nil && err != io.EOF:
			return err
		}
		if n > 0 {
			if _, err := c.stream.Write(buf[:n]); err != nil {
				return &writeError{err}
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

func (s *bodySender) sendChunks(c *conn, x *Exchange, buf []byte) error {
	w := bufio.NewWriter(c.stream)
	chunks := httputil.NewChunkedWriter(w)
	for {
		n, err := x.Body.Read(buf)
		if err != nil && err != io.EOF {
			return err
		}
		chunks.Write(buf[:n]) // w keeps the error for Flush
		if err == io.EOF {
			s.allRead.Store(true)
			break
		}
		if err := w.Flush(); err != nil {
			return &writeError{err}
		}
	}
	chunks.Close()
	for name, values := range x.Trailer {
		for _, v := range values {
			if !isSingleLine(name) || !isSingleLine(v) {
				return errors.New("a field of the request's trailer cannot be written")
			}
			w.Write(appendField(w.AvailableBuffer(), name, v))
		}
	}
	w.WriteString("\r\n")
	if err := w.Flush(); err != nil {
		return &writeError{err}
	}
	return nil
}

// writeError is an error of a write to the worker.
type writeError struct{ error }
