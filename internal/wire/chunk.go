package wire

import "net/http"

// chunks follows a body in chunks (RFC 9112 section 7.1). Every line must end in
// CRLF: what others take for the end of a line is where requests are smuggled.
type chunks struct {
	part  chunkPart
	size  int64 // that is left of the chunk, or read of its size
	count int   // bytes of the line, or of all trailers
	line  []byte
}

type chunkPart byte

const (
	sizeStart chunkPart = iota
	sizeDigits
	extension
	sizeLF
	payload
	payloadCR
	payloadLF
	trailerLine
	chunksOver
)

// maxExtension bounds what follows the size of a chunk, which nobody reads.
const maxExtension = 256

// follow reads bytes and returns how many belong to the body: all, or those up
// to its end or to what is wrong.
func (c *chunks) follow(b []byte, maxTrailer int) (n int, bad *Refusal) {
	for n < len(b) && c.part != chunksOver {
		if c.part == payload {
			k := min(c.size, int64(len(b)-n))
			c.size -= k
			n += int(k)
			if c.size == 0 {
				c.part = payloadCR
			}
			continue
		}
		if reason := c.step(b[n], maxTrailer); reason != "" {
			return n, &Refusal{Status: http.StatusBadRequest, Reason: reason}
		}
		n++
	}
	return n, nil
}

// step takes one byte of the framing, and returns what is wrong with it.
func (c *chunks) step(b byte, maxTrailer int) string {
	switch c.part {
	case sizeStart:
		c.size, c.count = 0, 0
		c.part = sizeDigits
		if !isHex(b) {
			return "A chunk of the body has no size."
		}
		return c.digit(b)
	case sizeDigits:
		switch {
		case isHex(b):
			return c.digit(b)
		case b == '\r':
			c.part = sizeLF
		case b == ';':
			c.part, c.count = extension, 0
		default:
			return "The size of a chunk of the body is not a number."
		}
	case extension:
		c.count++
		switch {
		case b == '\r':
			c.part = sizeLF
		case !is(b, valueByte) || c.count > maxExtension:
			return "A chunk of the body has an extension that is none."
		}
	case sizeLF:
		if b != '\n' {
			return "A line of the body's chunks does not end in CRLF."
		}
		c.part = payload
		if c.size == 0 {
			c.part, c.count = trailerLine, 0
		}
	case payloadCR:
		if b != '\r' {
			return "A chunk of the body is longer than its size."
		}
		c.part = payloadLF
	case payloadLF:
		if b != '\n' {
			return "A line of the body's chunks does not end in CRLF."
		}
		c.part = sizeStart
	case trailerLine:
		return c.trailer(b, maxTrailer)
	}
	return ""
}

func (c *chunks) digit(b byte) string {
	if c.count++; c.count > 15 {
		return "A chunk of the body is too large."
	}
	switch {
	case isDigit(b):
		b -= '0'
	default:
		b = b | 0x20 - 'a' + 10
	}
	c.size = c.size<<4 | int64(b)
	return ""
}

// trailer collects a line of the trailer and checks it as one of the header.
func (c *chunks) trailer(b byte, most int) string {
	if c.count++; c.count > most {
		return "The trailer of the body is too large."
	}
	if b != '\n' {
		c.line = append(c.line, b)
		return ""
	}
	n := len(c.line) - 1
	if n < 0 || c.line[n] != '\r' {
		return "A line of the body's trailer does not end in CRLF."
	}
	line := c.line[:n]
	c.line = c.line[:0]
	if n == 0 {
		c.part, c.line = chunksOver, nil
		return ""
	}
	_, _, wrong := splitField(line)
	return wrong
}
