package message

import "net/http"

// Chunks decodes a chunked body (RFC 9112 section 7.1). Every line must end in
// CRLF, because what programs take for the end of a line differs, which allows
// request smuggling. The zero value is at the beginning of a body.
type Chunks struct {
	MaxTrailer int  // bytes of the trailer
	Lenient    bool // accept spaces after a size, and any extension

	part      chunkPart
	size      int64  // of the chunk: what is left, or what was read of the number
	count     int    // bytes of the current line
	lines     []byte // of the trailer
	lineStart int    // where the last line of lines starts
	fields    int
}

type chunkPart byte

const (
	sizeStart chunkPart = iota
	sizeDigits
	sizeSpace
	extension
	sizeLF
	payload
	payloadCR
	payloadLF
	trailerLine
	chunksDone
)

// Limits of a chunk extension, which nobody uses: maxExtension, and maxLenient with
// Lenient.
const (
	maxExtension = 256
	maxLenient   = 4 << 10
)

// Decode reads src and copies the body in it to dst, which may overlap the
// beginning of src. It stops at the end of src, of dst, or of the body, or at an
// error, which is a [Malformed]. It returns how many bytes it wrote and read.
func (c *Chunks) Decode(dst, src []byte) (wrote, read int, err error) {
	for read < len(src) && c.part != chunksDone {
		if c.part != payload {
			if err := c.step(src[read]); err != nil {
				return wrote, read, err
			}
			read++
			continue
		}
		if wrote == len(dst) {
			return wrote, read, nil
		}
		n := copy(dst[wrote:], src[read:min(int64(len(src)), int64(read)+c.size)])
		wrote, read = wrote+n, read+n
		c.Skip(n)
	}
	return wrote, read, nil
}

// Done reports whether the body has ended, including its trailer.
func (c *Chunks) Done() bool { return c.part == chunksDone }

// Payload returns how many of the next bytes certainly belong to the body. The
// caller may take them directly and report them to Skip.
func (c *Chunks) Payload() int64 {
	if c.part != payload {
		return 0
	}
	return c.size
}

// Skip notes that the caller took n bytes of the body.
func (c *Chunks) Skip(n int) {
	if c.size -= int64(n); c.size == 0 {
		c.part = payloadCR
	}
}

// Trailer returns the trailer of a body that has ended, or nil.
func (c *Chunks) Trailer() http.Header {
	if c.fields == 0 {
		return nil
	}
	return ParseHeader(c.lines, c.fields)
}

var (
	errNoSize   error = Malformed("A chunk of the body has no size.")
	errSize     error = Malformed("The size of a chunk of the body is not a number.")
	errLarge    error = Malformed("A chunk of the body is too large.")
	errLonger   error = Malformed("A chunk of the body is longer than its size.")
	errExtended error = Malformed("A chunk of the body has an invalid extension.")
	errLine     error = Malformed("A chunk line of the body does not end in CRLF.")
	errTrailer  error = Malformed("The trailer of the body is too large.")
)

// step reads one byte of the framing.
func (c *Chunks) step(b byte) error {
	switch c.part {
	case sizeStart:
		c.size, c.count, c.part = 0, 0, sizeDigits
		if !IsHex(b) {
			return errNoSize
		}
		return c.addDigit(b)
	case sizeDigits, sizeSpace:
		return c.afterDigit(b)
	case extension:
		c.count++
		switch {
		case b == '\r':
			c.part = sizeLF
		case b == '\n', c.count > maxLenient, !c.Lenient && (byteClasses[b]&valueByte == 0 || c.count > maxExtension):
			return errExtended
		}
	case sizeLF:
		if b != '\n' {
			return errLine
		}
		c.part = payload
		if c.size == 0 {
			c.part = trailerLine
		}
	case payloadCR:
		if b != '\r' {
			return errLonger
		}
		c.part = payloadLF
	case payloadLF:
		if b != '\n' {
			return errLine
		}
		c.part = sizeStart
	case trailerLine:
		return c.addTrailerByte(b)
	}
	return nil
}

func (c *Chunks) afterDigit(b byte) error {
	switch {
	case b == '\r':
		c.part = sizeLF
	case c.Lenient && (b == ' ' || b == '\t') && c.count < maxLenient:
		c.part = sizeSpace
		c.count++
	case c.part == sizeSpace:
		return errSize
	case IsHex(b):
		return c.addDigit(b)
	case b == ';':
		c.part, c.count = extension, 0
	default:
		return errSize
	}
	return nil
}

func (c *Chunks) addDigit(b byte) error {
	if c.count++; c.count > 15 {
		return errLarge
	}
	if IsDigit(b) {
		b -= '0'
	} else {
		b = b | 0x20 - 'a' + 10
	}
	c.size = c.size<<4 | int64(b)
	return nil
}

// addTrailerByte collects the lines of the trailer and checks them like those of a
// header.
func (c *Chunks) addTrailerByte(b byte) error {
	if c.lines = append(c.lines, b); len(c.lines) > c.MaxTrailer {
		return errTrailer
	}
	if b != '\n' {
		return nil
	}
	line := c.lines[c.lineStart:]
	c.lineStart = len(c.lines)
	switch n := len(line) - len("\r\n"); {
	case n < 0 || line[n] != '\r':
		return Malformed("A trailer line of the body does not end in CRLF.")
	case n == 0:
		c.part = chunksDone
		return nil
	case c.fields == MaxFields:
		return TooManyFields
	default:
		c.fields++
		_, _, err := SplitField(line[:n])
		return err
	}
}
