package static

import (
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"strconv"
	"syscall"
)

// response is the response to a request for a file.
type response struct {
	mount      *openMount
	name       string // relative to the folder
	file       *os.File
	info       fs.FileInfo // of file
	encoding   *encoding   // of file; nil for none
	hasEncoded bool        // another encoding of the file exists
}

// ServeHTTP sends the file and closes it.
func (resp *response) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer resp.file.Close()
	h := w.Header()
	h.Set("Content-Type", typeOf(resp.name))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	if resp.mount.cacheControl != "" {
		h.Set("Cache-Control", resp.mount.cacheControl)
	}
	h.Set("Etag", resp.etag())
	if resp.hasEncoded {
		h.Add("Vary", "Accept-Encoding")
	}
	if resp.encoding != nil {
		h.Set("Content-Encoding", resp.encoding.token)
		w = &encoded{w, resp.info.Size()}
	}
	http.ServeContent(w, resp.withValidRanges(r), "", resp.info.ModTime(), content{resp.file, resp.info.Size()})
}

// withValidRanges returns a request that asks only for valid ranges.
func (resp *response) withValidRanges(r *http.Request) *http.Request {
	field := r.Header.Get("Range")
	if field == "" {
		return r
	}
	ranged := *r
	ranged.Header = maps.Clone(r.Header)
	ranged.Header.Del("Range")
	if ranges := validRanges(field, resp.info.Size()); ranges != "" && r.Method == http.MethodGet { // RFC 9110 section 14.2
		ranged.Header.Set("Range", ranges)
	}
	return &ranged
}

// etag returns the entity tag. An encoded file has its own.
func (resp *response) etag() string {
	tag := strconv.AppendInt([]byte{'"'}, resp.info.ModTime().UnixNano(), 36)
	tag = strconv.AppendInt(append(tag, '-'), resp.info.Size(), 36)
	if resp.encoding != nil {
		tag = append(append(tag, '-'), resp.encoding.token...)
	}
	return string(append(tag, '"'))
}

// content is a file that keeps the size it was opened with, even if it grows. net
// sends it like an [os.File], without copying.
type content struct {
	*os.File
	size int64
}

func (c content) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		offset, whence = c.size+offset, io.SeekStart
	}
	return c.File.Seek(offset, whence)
}

// encoded sets the length of an encoded file, which [http.ServeContent] omits.
// Without it a client could not see that a response was cut short.
type encoded struct {
	http.ResponseWriter
	size int64
}

func (w *encoded) WriteHeader(status int) {
	if status == http.StatusOK {
		w.Header().Set("Content-Length", strconv.FormatInt(w.size, 10))
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *encoded) ReadFrom(r io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, r) }

func (w *encoded) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// open opens a regular file. It never waits, as opening a FIFO would.
func (d *folder) open(name string) (*os.File, fs.FileInfo, error) {
	file, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}
