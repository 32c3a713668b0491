package live

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// decoders has a decoder for each coding that browsers know, nil for no coding.
var decoders = map[string]func(io.Reader) (io.ReadCloser, error){
	"":     nil,
	"gzip": func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) },
	"br":   func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(brotli.NewReader(r)), nil },
	"zstd": func(r io.Reader) (io.ReadCloser, error) {
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20)) // RFC 9659 section 3
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	},
}

// coding returns the content coding of a body (RFC 9110 section 8.4).
func coding(h http.Header) string {
	c := strings.ToLower(strings.TrimSpace(strings.Join(h["Content-Encoding"], ",")))
	switch c {
	case "identity":
		return ""
	case "x-gzip":
		return "gzip"
	}
	return c
}

// maxProbe is how many bytes are decoded to check the coding of a body.
const maxProbe = 1 << 20

// magic has the first bytes of each coding. Brotli has none.
var magic = map[string]string{"gzip": "\x1f\x8b", "zstd": "\x28\xb5\x2f\xfd"}

// isCoded reports whether the beginning of a body is in a coding, and whether that
// is known already.
func isCoded(coding string, first []byte) (is, known bool) {
	if m := magic[coding]; !bytes.HasPrefix(first, []byte(m[:min(len(m), len(first))])) {
		return false, true
	}
	body, err := decoders[coding](bytes.NewReader(first))
	decoded := int64(0)
	if err == nil {
		defer body.Close()
		decoded, err = io.Copy(io.Discard, io.LimitReader(body, maxProbe))
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true, decoded > 0
	}
	return false, true
}
