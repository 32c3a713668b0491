package wire

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/message"
)

// response is the response to a request. Only the handler's goroutine may use it,
// but any may set deadlines.
type response struct {
	c               *Conn
	req             *http.Request
	body            *body // of the request; may be nil
	is11            bool  // the client uses HTTP/1.1
	keepAlive10     bool  // the client uses HTTP/1.0 with keep-alive
	isHead          bool
	expectsContinue bool // the client waits for 100 Continue before it sends the body
	duplex          bool // the handler reads while it writes

	header           http.Header // nil until it is used
	status           int         // 0 before WriteHeader
	connection       []string
	transferEncoding string   // as the handler set it
	trailers         []string // that the handler announced
	hasTrailer       bool     // trailers will follow, announced or not
	sniffType        bool     // the handler set neither Content-Type nor that there is none
	hasDate          bool
	hasLength        bool  // the handler set Content-Length
	length           int64 // of the body, or -1
	written          int64 // by the handler
	headerDone       bool  // the header is in out
	chunked          bool
	closeAfter       bool // the connection closes after the response

	pooled           *[outSize]byte // the array that out and early are in, or nil
	out              []byte         // to be sent
	early            []byte         // of the body, before the header is done
	writeErr         error          // of the first write that failed
	done             atomic.Bool    // the handler has returned or hijacked the connection
	hasWriteDeadline atomic.Bool

	mu              sync.Mutex // held while something is written before the response
	continuePending bool       // the next read of the body sends 100 Continue
}

const (
	maxEarly = 2 << 10 // bytes of a body that wait to see whether more follows
	outSize  = 8 << 10
	headSize = 4 << 10
	earlyAt  = headSize + 16 // leaves space for the size of a chunk
)

var outPool = sync.Pool{New: func() any { return new([outSize]byte) }}

// serve calls the handler and reports whether another request may follow.
func (w *response) serve(h http.Handler, onPanic func(error)) (again bool) {
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				onPanic(fmt.Errorf("panic while serving %s: %v\n%s", w.c.remote, v, debug.Stack()))
			}
			w.abort()
			again = false
		}
	}()
	h.ServeHTTP(w, w.req)
	return w.finish()
}

// Header returns the header of the response, which WriteHeader sends.
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// UseHeader makes h the header of the response, if that has no fields yet, and
// reports whether it did. The caller must not use h any more.
func (w *response) UseHeader(h http.Header) bool {
	if len(w.header) > 0 {
		return false
	}
	w.header = h
	return true
}

// WriteHeader sets the status and the header, or sends an interim response.
func (w *response) WriteHeader(status int) {
	switch {
	case w.done.Load(), w.status != 0:
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid response status %d", status))
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.writeInterim(status)
		return
	}
	w.mu.Lock()
	w.continuePending = false
	w.mu.Unlock()
	w.status = status
	w.pooled = outPool.Get().(*[outSize]byte)
	w.early = w.pooled[earlyAt:earlyAt]
	w.out = appendStatusLine(w.pooled[:0:headSize], w.is11, status)
	_, typed := w.header["Content-Type"]
	w.sniffType = !typed && w.header.Get("Content-Encoding") == ""
	_, w.hasDate = w.header["Date"]
	w.transferEncoding = w.header.Get("Transfer-Encoding")
	w.connection = w.header["Connection"]
	w.closeAfter = w.closeAfter || message.HasToken(w.connection, "close")
	if w.header["Content-Length"] != nil {
		w.hasLength = true
		if n, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
			w.length = n
		}
	}
	w.noteTrailers()
	w.out = appendFields(w.out, w.header, func(name string) bool {
		switch name {
		case "Content-Length", "Transfer-Encoding", "Connection": // decideFraming decides about these
			return false
		case "Content-Type":
			return status != http.StatusNotModified
		}
		return true
	})
}

// writeInterim sends an interim response.
func (w *response) writeInterim(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if status == http.StatusContinue {
		w.continuePending = false
	}
	b := appendStatusLine(nil, w.is11, status)
	b = appendFields(b, w.header, func(name string) bool { return name != "Content-Length" && name != "Transfer-Encoding" })
	w.noteError(w.c.Write(append(b, "\r\n"...)))
}

// writeContinue sends 100 Continue, once, if the client waits for it.
func (w *response) writeContinue() {
	if !w.expectsContinue {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.continuePending {
		w.continuePending = false
		w.c.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
}

// writeBody sends p, now or together with what follows.
func (w *response) writeBody(p []byte) error {
	if len(p) == 0 || w.writeErr != nil {
		return w.writeErr
	}
	end := ""
	if w.chunked {
		w.out = append(strconv.AppendInt(w.out, int64(len(p)), 16), "\r\n"...)
		end = "\r\n"
	}
	if len(w.out)+len(p)+len(end) <= outSize {
		w.out = append(append(w.out, p...), end...)
		return nil
	}
	pieces := net.Buffers{w.out, p, []byte(end)}
	_, err := pieces.WriteTo(w.c.tcp)
	w.out = w.out[:0]
	return w.noteError(0, err)
}

// noteError keeps the first error of a write.
func (w *response) noteError(_ int, err error) error {
	if w.writeErr == nil {
		w.writeErr = err
	}
	return w.writeErr
}

// Write writes p, after the header.
func (w *response) Write(p []byte) (int, error) {
	if w.done.Load() {
		return 0, http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case !statusAllowsBody(w.status):
		return 0, http.ErrBodyNotAllowed
	}
	w.written += int64(len(p))
	if w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength
	}
	if !w.headerDone {
		if len(w.early)+len(p) <= maxEarly {
			w.early = append(w.early, p...)
			return len(p), nil
		}
		sample := p
		if len(w.early) > 0 {
			sample = append(w.early[:len(w.early):len(w.early)], p[:min(len(p), 512)]...)
		}
		w.finishHeader(sample, false)
	}
	if w.isHead {
		return len(p), nil
	}
	if err := w.writeBody(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush implements [http.Flusher].
func (w *response) Flush() { w.FlushError() }

// FlushError sends all that was written, at least the header.
func (w *response) FlushError() error {
	if w.done.Load() {
		return http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.headerDone {
		w.finishHeader(w.early, false)
	}
	if len(w.out) > 0 && w.writeErr == nil {
		w.noteError(w.c.Write(w.out))
		w.out = w.out[:0]
	}
	return w.writeErr
}

// EnableFullDuplex allows the handler to respond before it has read the request's
// body.
func (w *response) EnableFullDuplex() error {
	w.duplex = true
	return nil
}

// SetReadDeadline may be called from any goroutine.
func (w *response) SetReadDeadline(t time.Time) error { return w.c.SetReadDeadline(t) }

// SetWriteDeadline may be called from any goroutine.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.hasWriteDeadline.Store(true)
	return w.c.SetWriteDeadline(t)
}

// Hijack returns the connection. It sends first what was written before.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.done.Load() {
		return nil, nil, http.ErrHijacked
	}
	if w.status != 0 {
		if err := w.FlushError(); err != nil {
			return nil, nil, err
		}
	}
	w.mu.Lock()
	w.continuePending = false
	w.mu.Unlock()
	w.release()
	w.closeBody() // else a read of the body could go on
	w.c.handOver()
	w.c.SetDeadline(time.Time{})
	return w.c, bufio.NewReadWriter(bufio.NewReader(w.c), bufio.NewWriter(w.c)), nil
}

// release gives back the array that the response was written in.
func (w *response) release() {
	w.done.Store(true)
	if w.pooled != nil {
		outPool.Put(w.pooled)
		w.pooled, w.out, w.early = nil, nil, nil
	}
}

// abort cuts the response short.
func (w *response) abort() {
	if w.done.Load() {
		return
	}
	if w.headerDone && w.writeErr == nil {
		w.c.writeEnd(w.out)
		w.c.resetOnClose = !w.chunked && w.length < 0 && !w.isHead && statusAllowsBody(w.status) // else the client would take the end of the connection for the end of the body
	}
	w.release()
	w.closeBody()
}

// finish ends the response and reports whether another request may follow.
func (w *response) finish() (again bool) {
	if w.done.Load() {
		return true
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.headerDone {
		w.finishHeader(w.early, true)
	}
	if w.chunked {
		w.out = append(w.out, "0\r\n"...)
		w.out = w.appendTrailer(w.out)
		w.out = append(w.out, "\r\n"...)
	}
	if w.writeErr == nil && len(w.out) > 0 {
		w.writeErr = w.c.writeEnd(w.out)
	}
	w.release()
	if w.body.hasUnread() && !w.closeAfter && w.writeErr == nil {
		w.drainBody()
	}
	w.closeBody()
	if w.hasWriteDeadline.Load() {
		w.c.SetWriteDeadline(time.Time{})
	}
	w.c.bodyUnread = w.body.hasUnread()
	short := w.length >= 0 && w.written != w.length && !w.isHead && statusAllowsBody(w.status)
	return !w.closeAfter && !short && w.writeErr == nil && !w.c.bodyUnread
}

// drainBody reads the rest of the request's body if it is short and arrives soon,
// and reports whether it did. It does so before the response, because many clients
// read nothing until they have sent everything (golang.org/issue/15527).
func (w *response) drainBody() bool {
	if w.expectsContinue || w.body.exceedsDrain() {
		return false
	}
	w.c.SetReadDeadline(time.Now().Add(lingerTimeout))
	defer w.c.SetReadDeadline(time.Time{})
	return w.body.drain()
}

// closeBody makes reads of the request's body fail.
func (w *response) closeBody() {
	if w.body != nil {
		if w.body.hasUnread() {
			w.c.SetReadDeadline(aLongTimeAgo)
		}
		w.body.Close()
	}
}
