package wire

import (
	"io"
	"io/fs"
	"net/http"
	"syscall"
)

// ReadFrom lets the kernel send a file, and copies from any other reader.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	file := isFile(src)
	if !file || w.isHead || w.done.Load() {
		return io.Copy(onlyWriter{w}, src)
	}
	if !w.headerDone { // the header needs a sample for its Content-Type
		if n, err = io.CopyN(onlyWriter{w}, src, 512); err != nil {
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
	}
	if err := w.FlushError(); err != nil {
		return n, err
	}
	if w.chunked || w.length < 0 {
		rest, err := io.Copy(onlyWriter{w}, src)
		return n + rest, err
	}
	rest, err := w.c.tcp.ReadFrom(limitReader(src, w.length-w.written))
	w.written += rest
	n += rest
	if w.noteError(0, err) == nil && w.written == w.length {
		if more, _ := io.CopyN(io.Discard, src, 1); more > 0 {
			err = http.ErrContentLength
		}
	}
	return n, err
}

// onlyWriter hides the other methods of a writer from io.Copy.
type onlyWriter struct{ io.Writer }

// isFile reports whether a reader is a regular file or a type that embeds one.
// Package net looks for the descriptor in the same way.
func isFile(r io.Reader) bool {
	if l, ok := r.(*io.LimitedReader); ok {
		r = l.R
	}
	f, ok := r.(interface {
		syscall.Conn
		Stat() (fs.FileInfo, error)
	})
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// limitReader returns a reader of at most n bytes with a single limit: the kernel
// does not send a file behind two.
func limitReader(r io.Reader, n int64) io.Reader {
	if l, ok := r.(*io.LimitedReader); ok {
		if l.N <= n {
			return l
		}
		return &io.LimitedReader{R: l.R, N: n}
	}
	return &io.LimitedReader{R: r, N: n}
}
