package upstream

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"tqserver/internal/message"
)

// net/http does not parse responses, because it drops all of Connection if that
// contains close, so that the fields it names would reach the client; because it
// adds a Cache-Control for Pragma; and because it limits trailers and chunk
// extensions by the size of a buffer. Lines may end in a bare LF and may be folded,
// as a worker need not be written in Go. What net/http accepts is accepted here
// too, except for what a test lists.

// readHead waits for a complete header, consumes it, and returns it with its empty
// line. It is valid until the next read.
func (c *conn) readHead() ([]byte, error) {
	var large []byte // the beginning of a header that is larger than the reader's buffer
	seen := 0
	for {
		b, _ := c.reader.Peek(c.reader.Buffered())
		all := b
		if len(large) > 0 {
			all = append(large, b...)
		}
		if end := endOfHead(all, max(0, seen-len("\n\r"))); end > 0 {
			c.reader.Discard(end - len(large))
			return all[:end], nil
		}
		seen = len(all)
		switch {
		case len(large) > 0:
			large = all
			c.reader.Discard(len(b))
		case len(b) == c.reader.Size():
			large = bytes.Clone(b)
			c.reader.Discard(len(b))
		}
		if _, err := c.reader.Peek(c.reader.Buffered() + 1); err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
	}
}

// endOfHead searches for the empty line that ends a header, starting at from. It
// returns the length of the header, or 0.
func endOfHead(b []byte, from int) int {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return 0
		}
		from += i + 1
		switch after := b[from:]; {
		case bytes.HasPrefix(after, []byte("\n")):
			return from + 1
		case bytes.HasPrefix(after, []byte("\r\n")):
			return from + 2
		}
	}
}

// cutLine returns the first line of b, without its end, and the rest.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

// parseResponse parses a header with its empty line. It ignores the reason phrase.
func parseResponse(b []byte, method string) (*http.Response, error) {
	line, rest := cutLine(b)
	version, status, _ := bytes.Cut(line, []byte(" "))
	code, _, _ := bytes.Cut(bytes.TrimLeft(status, " "), []byte(" "))
	if len(version) != len("HTTP/1.1") || !bytes.HasPrefix(version, []byte("HTTP/1.")) || !message.IsDigit(version[7]) {
		return nil, fmt.Errorf("the worker's response begins with the invalid line %.40q", line)
	}
	if len(code) != 3 || code[0] < '1' || !message.IsDigit(code[0]) || !message.IsDigit(code[1]) || !message.IsDigit(code[2]) {
		return nil, fmt.Errorf("the worker's response has the invalid status %.40q", status)
	}
	h, err := parseFields(rest)
	if err != nil {
		return nil, err
	}
	resp := &http.Response{ProtoMajor: 1, ProtoMinor: int(version[7] - '0'), Header: h}
	for _, digit := range code {
		resp.StatusCode = 10*resp.StatusCode + int(digit-'0')
	}
	return resp, setFraming(resp, method)
}

// parseFields parses the fields of a header with its empty line.
func parseFields(b []byte) (http.Header, error) {
	fields := message.NewFields(min(bytes.Count(b, []byte("\n"))-1, message.MaxFields))
	for n := 0; ; n++ {
		var line []byte
		if line, b = cutLine(b); len(line) == 0 {
			return fields.Header, nil
		}
		line, b = unfold(line, b)
		name, value, found := bytes.Cut(line, []byte(":"))
		name, value = bytes.TrimRight(name, " \t"), bytes.Trim(value, " \t") // RFC 9112 section 5.1
		switch {
		case n == message.MaxFields:
			return nil, message.TooManyFields
		case !found, !message.IsToken(name), !message.IsValue(value):
			return nil, fmt.Errorf("the worker's response has the invalid field %.40q", line)
		}
		fields.Add(name, value)
	}
}

// unfold joins a line with the lines that continue it (RFC 9112 section 5.2). It
// works in place, because the result is not longer.
func unfold(line, rest []byte) ([]byte, []byte) {
	for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		var more []byte
		more, rest = cutLine(rest)
		line = append(append(bytes.TrimRight(line, " \t"), ' '), bytes.Trim(more, " \t")...)
	}
	return line, rest
}

// setFraming sets how the body ends (RFC 9112 sections 6.3 and 9.3), and removes
// fields that do not apply.
func setFraming(resp *http.Response, method string) error {
	h := resp.Header
	resp.Close = message.HasToken(h["Connection"], "close") || resp.ProtoMinor == 0 && !message.HasToken(h["Connection"], "keep-alive")
	codings, coded := h["Transfer-Encoding"]
	delete(h, "Transfer-Encoding")
	switch {
	case !coded:
	case resp.ProtoMinor == 0: // HTTP/1.0 has no transfer codings, so the rest is not reliable
		resp.Close = true
	case len(codings) != 1 || !strings.EqualFold(codings[0], "chunked"):
		return fmt.Errorf("the worker's response has the unsupported transfer coding %.40q", codings)
	default:
		resp.TransferEncoding = []string{"chunked"}
	}
	var err error
	if resp.ContentLength, err = parseContentLength(h); err != nil {
		return err
	}
	if isChunked(resp) {
		delete(h, "Content-Length")
		resp.ContentLength = -1
		if resp.Trailer, err = parseTrailerNames(h); err != nil {
			return err
		}
	}
	switch bodiless := resp.StatusCode < 200 || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified; {
	case method == http.MethodHead:
	case bodiless:
		resp.ContentLength = 0
	case resp.ContentLength < 0 && !isChunked(resp):
		resp.Close = true
	}
	return nil
}

func isChunked(resp *http.Response) bool { return resp.TransferEncoding != nil }

// parseContentLength returns the Content-Length, or -1. Several equal lengths count
// as one.
func parseContentLength(h http.Header) (int64, error) {
	lines := h["Content-Length"]
	if len(lines) == 0 {
		return -1, nil
	}
	for _, line := range lines {
		if line != lines[0] {
			return 0, fmt.Errorf("the worker's response has several lengths: %.40q", lines)
		}
	}
	h["Content-Length"] = lines[:1]
	n, err := strconv.ParseUint(lines[0], 10, 63)
	if err != nil {
		return 0, fmt.Errorf("the worker's response has the invalid length %.40q", lines[0])
	}
	return int64(n), nil
}

// parseTrailerNames removes Trailer from a header and returns the names in it.
func parseTrailerNames(h http.Header) (http.Header, error) {
	var trailer http.Header
	n := 0
	for name := range message.Members(h["Trailer"]) {
		if n++; n > message.MaxFields {
			return nil, message.TooManyFields
		}
		switch name = http.CanonicalHeaderKey(name); name {
		case "Content-Length", "Transfer-Encoding", "Trailer":
			return nil, fmt.Errorf("the worker's response announces the trailer %s, which is not allowed", name)
		}
		if trailer == nil {
			trailer = make(http.Header)
		}
		trailer[name] = nil
	}
	delete(h, "Trailer")
	return trailer, nil
}

// body is the body of a response.
type body struct {
	c       *conn
	x       *Exchange
	resp    *http.Response // receives the trailer
	framing framing
	unread  int64 // bytes that have not arrived, if the body has a length
	chunks  message.Chunks
	done    bool
}

// framing says what ends a body.
type framing byte

const (
	noBody framing = iota
	sized
	inChunks
	untilClose
)

func newBody(c *conn, x *Exchange, resp *http.Response) body {
	b := body{c: c, x: x, resp: resp, unread: resp.ContentLength}
	switch {
	case x.Method == http.MethodHead, resp.ContentLength == 0, resp.StatusCode == http.StatusNoContent, resp.StatusCode == http.StatusNotModified:
	case isChunked(resp):
		b.framing, b.chunks = inChunks, message.Chunks{MaxTrailer: maxHeader, Lenient: true}
	case resp.ContentLength > 0:
		b.framing = sized
	default:
		b.framing = untilClose
	}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.readFramed(p)
	if err != nil {
		b.finish(err == io.EOF)
	}
	return n, err
}

// readFramed returns io.EOF where the framing says that the body ends.
func (b *body) readFramed(p []byte) (n int, err error) {
	switch b.framing {
	case sized:
		n, err = b.c.reader.Read(p[:min(int64(len(p)), b.unread)])
		b.unread -= int64(n)
		switch {
		case b.unread == 0:
			return n, io.EOF
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
		return n, err
	case inChunks:
		return b.readChunks(p)
	}
	return b.c.reader.Read(p)
}

func (b *body) readChunks(p []byte) (n int, err error) {
	r := b.c.reader
	for n == 0 {
		if k := b.chunks.Payload(); k > 0 && r.Buffered() == 0 && len(p) >= r.Size() { // bypasses the buffer
			n, err = r.Read(p[:min(int64(len(p)), k)])
			b.chunks.Skip(n)
		} else if _, err = r.Peek(1); err == nil {
			buffered, _ := r.Peek(r.Buffered())
			var read int
			n, read, err = b.chunks.Decode(p, buffered)
			r.Discard(read)
		}
		switch {
		case b.chunks.Done():
			b.addTrailer()
			return n, io.EOF
		case err == io.EOF:
			return n, io.ErrUnexpectedEOF
		case err != nil:
			return n, err
		}
	}
	return n, nil
}

func (b *body) addTrailer() {
	trailer := b.chunks.Trailer()
	if b.resp.Trailer == nil {
		b.resp.Trailer = trailer
		return
	}
	for name, values := range trailer {
		b.resp.Trailer[name] = values
	}
}

// Close gives up the connection, unless the body was read to its end.
func (b *body) Close() error {
	b.finish(false)
	return nil
}

func (b *body) finish(whole bool) {
	if b.done {
		return
	}
	b.done = true
	c := b.c
	c.beforeWait = nil
	if b.x.detach() && whole && !b.resp.Close && b.x.bodySend.isComplete() && c.reader.Buffered() == 0 {
		c.pool.release(c)
	} else {
		c.close()
	}
}
