package proxy

import (
	"io"
	"maps"
	"net/http"

	"tqserver/internal/policy"
)

var notForFiles = policy.Refusal{Status: http.StatusMethodNotAllowed, Title: "Method not allowed", Detail: "This is a file. Use GET or HEAD.", Header: http.Header{"Allow": {"GET, HEAD"}}}

// SetFiles changes how the file for a request is found, from the next request on. Files
// are served whatever their page does. find returns what serves the file, which is
// called once, or nil if the file does not allow the request's method.
func (p *Proxy) SetFiles(find func(*http.Request) (h http.Handler, found bool)) { p.files.Store(&find) }

// serveFile serves the file for a request, and reports whether there is one.
func (p *Proxy) serveFile(x *exchange) bool {
	file, found := (*p.files.Load())(x.in.Request)
	if !found {
		return false
	}
	if file == nil {
		x.refuse(&notForFiles)
		return true
	}
	x.in.setFields(x.in.w.Header())
	x.stall.watch(true)
	w := &fileWriter{ResponseWriter: x.in.w, x: x}
	file.ServeHTTP(w, x.in.Request)
	if w.refused != 0 {
		h := x.in.w.Header()
		maps.DeleteFunc(h, func(name string, _ []string) bool { return name != "Content-Range" && name != "Vary" })
		x.refuse(fileRefusal(w.refused))
	}
	return true
}

// fileRefusal returns the refusal for a status with which no file is sent.
func fileRefusal(status int) *policy.Refusal {
	switch status {
	case http.StatusPreconditionFailed:
		return &policy.Refusal{Status: status, Title: "Precondition failed", Detail: "The file does not meet the conditions of the request."}
	case http.StatusRequestedRangeNotSatisfiable:
		return &policy.Refusal{Status: status, Title: "Range not satisfiable", Detail: "The file does not have this range."}
	}
	return &policy.Refusal{Status: status, Title: http.StatusText(status)}
}

// fileChunk is how much of a file is sent before it counts as moved.
const fileChunk = 64 << 10

// fileWriter passes a file on to the client, and withholds errors.
type fileWriter struct {
	http.ResponseWriter
	x       *exchange
	refused int // the status, if it is an error: the proxy refuses instead
}

func (w *fileWriter) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		w.refused = status
		return
	}
	w.x.vary(w.Header())
	w.x.respond(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *fileWriter) Write(p []byte) (int, error) {
	if w.refused != 0 {
		return len(p), nil
	}
	n, err := w.ResponseWriter.Write(p)
	w.x.stall.moved()
	return n, err
}

// ReadFrom sends a file in chunks, each as a limited reader of the file itself: in that
// form the kernel sends it.
func (w *fileWriter) ReadFrom(r io.Reader) (sent int64, err error) {
	all, ok := r.(*io.LimitedReader)
	if !ok || w.refused != 0 {
		return io.Copy(writer{w}, r)
	}
	for all.N > 0 {
		want := min(all.N, fileChunk)
		n, err := io.Copy(w.ResponseWriter, &io.LimitedReader{R: all.R, N: want})
		w.x.stall.moved()
		sent += n
		all.N -= n
		if err != nil || n < want {
			return sent, err
		}
	}
	return sent, nil
}

func (w *fileWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// writer is a writer and nothing more.
type writer struct{ io.Writer }
