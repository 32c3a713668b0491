package wire

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Handlers that abort, copy, hijack, or set deadlines.

func aborted() map[string]handle {
	abort := func(after handle) handle {
		return func(w http.ResponseWriter, r *http.Request, x *exchange) {
			after(w, r, x)
			panic(http.ErrAbortHandler)
		}
	}
	return map[string]handle{
		"abort before anything":    abort(respondWith(nil)),
		"abort after a header":     abort(withStatus(nil, 404)),
		"abort after a small body": abort(respondWith(nil, "hello")),
		"abort after a flush": abort(func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.noteResult(w, r, "\r\n\r\n")
		}),
		"abort after a part": abort(func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.writeString(w, "hello")
			x.noteResult(w, r, "hello")
			x.writeString(w, "never sent")
		}),
		"abort after a part, length": abort(func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.Header().Set("Content-Length", "20")
			x.writeString(w, "hello")
			x.noteResult(w, r, "hello")
		}),
		"abort after a 103": abort(func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.WriteHeader(103)
			x.read(r.Body, unlimited)
		}),
		"abort after the body was read": abort(func(_ http.ResponseWriter, r *http.Request, x *exchange) { x.read(r.Body, unlimited) }),
		"another panic":                 func(http.ResponseWriter, *http.Request, *exchange) { panic("on purpose") },
	}
}

// copiers are handlers that copy from the request.
func copiers() map[string]handle {
	// read reads a part of the body, responds, and reads the rest.
	read := func(part func(*http.Request) int64, answer string) handle {
		return func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.read(r.Body, part(r))
			x.writeString(w, answer)
		}
	}
	half := func(r *http.Request) int64 { return max(3, r.ContentLength/2) }
	all := func(*http.Request) int64 { return unlimited }
	return map[string]handle{
		"request": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.note("%s %s %s %d.%d, host %q, from %s, URL %q", r.Method, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor, r.Host, r.RemoteAddr, r.URL)
			x.note("length %d, coding %q, close %v, header %q, trailer %q", r.ContentLength, r.TransferEncoding, r.Close, r.Header, r.Trailer)
			x.note("no body %v, no TLS %v, no form %v, context %v", r.Body == http.NoBody, r.TLS == nil, r.Form == nil, r.Context().Err())
			x.read(r.Body, unlimited)
			x.note("trailer %q", r.Trailer)
		},
		"local address": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.note("%v", r.Context().Value(http.LocalAddrContextKey))
		},
		"body read":                        read(all, "hello"),
		"body read, nothing written":       read(all, ""),
		"body read, large answer":          read(all, string(bodyText(100000))),
		"half the body read":               read(half, "hello"),
		"half the body read, large answer": read(half, string(bodyText(100000))),
		"a byte of the body read":          read(func(*http.Request) int64 { return 1 }, "hello"),
		"body read after its end": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.read(r.Body, unlimited)
			x.note("again: %v", secondOf(r.Body.Read(make([]byte, 1))))
			x.note("close: %v", r.Body.Close())
			x.note("closed: %v", secondOf(r.Body.Read(make([]byte, 1))))
			x.writeString(w, "hello")
		},
		"body closed": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.note("close: %v", r.Body.Close())
			x.note("closed: %v", secondOf(r.Body.Read(make([]byte, 1))))
			x.note("trailer %q", r.Trailer)
			x.writeString(w, "hello")
		},
		"body read after a flush": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.writeString(w, "one")
			x.noteResult(w, r, "one")
			x.read(r.Body, unlimited)
			x.note("trailer %q", r.Trailer)
			x.writeString(w, "two")
		},
		"body read after a status": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.WriteHeader(201)
			x.read(r.Body, unlimited)
			x.writeString(w, "hello")
		},
		"half the body read, 417": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.read(r.Body, half(r))
			w.WriteHeader(417)
		},
		"Connection: close, body unread": respondWith(http.Header{"Connection": {"close"}}, "hello"),
		"echo": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			n, err := io.Copy(w, r.Body)
			x.note("%d, %v", n, err)
		},
		"body replaced": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			r.Body = io.NopCloser(r.Body)
			r.Header, r.URL = nil, nil
			x.writeString(w, "hello")
		},
		"body too large for http.MaxBytesReader": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.read(http.MaxBytesReader(w, r.Body, 4), unlimited)
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		},
	}
}

// duplex are handlers that respond before they have read the body.
func duplex() map[string]handle {
	enabled := func(then handle) handle {
		return func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.note("full duplex: %v", http.NewResponseController(w).EnableFullDuplex())
			then(w, r, x)
		}
	}
	closing := func(then handle) handle {
		return enabled(func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.Header().Set("Connection", "close")
			then(w, r, x)
		})
	}
	early := func(most int64) handle {
		return func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.writeString(w, "one")
			x.noteResult(w, r, "one")
			x.read(r.Body, most)
			x.note("trailer %q", r.Trailer)
			x.writeString(w, "two")
		}
	}
	return map[string]handle{
		"duplex, answer before the body":       enabled(early(unlimited)),
		"duplex, answer before a part of it":   closing(early(3)),
		"duplex, body unread":                  closing(respondWith(nil, "hello")),
		"duplex, body unread, nothing written": closing(respondWith(nil)),
		"duplex, body unread, large answer":    closing(respondWith(nil, string(bodyText(100000)))),
		"duplex, echo": enabled(func(w http.ResponseWriter, r *http.Request, x *exchange) {
			n, err := io.Copy(w, r.Body)
			x.note("%d, %v", n, err)
		}),
		"duplex, body closed after a flush": enabled(func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.noteResult(w, r, "\r\n\r\n")
			x.note("close: %v", r.Body.Close())
			x.writeString(w, "hello")
		}),
	}
}

func hijackers() map[string]handle {
	hijack := func(w http.ResponseWriter, x *exchange, say string) (net.Conn, *bufio.ReadWriter) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			x.note("hijack: %v", err)
			panic(http.ErrAbortHandler)
		}
		io.WriteString(rw, say)
		rw.Flush()
		return c, rw
	}
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nraw, "
	return map[string]handle{
		"hijack": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			c, rw := hijack(w, x, answer)
			defer c.Close()
			line, err := rw.ReadString('\n')
			x.note("%d bytes and an end: %q, %v", len(line), line[max(0, len(line)-30):], err)
			io.WriteString(c, "end")
		},
		"hijack after the body was read": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.read(r.Body, unlimited)
			c, rw := hijack(w, x, answer)
			defer c.Close()
			line, err := rw.ReadString('\n')
			x.note("%d bytes and an end: %q, %v", len(line), line[max(0, len(line)-30):], err)
		},
		"hijack after a write": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.writeString(w, "hello")
			c, _ := hijack(w, x, "raw")
			c.Close()
		},
		"hijack after a status": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.WriteHeader(404)
			c, _ := hijack(w, x, "raw")
			c.Close()
		},
		"hijack after a flush": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.Header().Set("Content-Length", "8")
			x.writeString(w, "hello")
			x.noteResult(w, r, "hello")
			c, _ := hijack(w, x, "raw")
			c.Close()
		},
		"hijack twice, then write": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			c, _ := hijack(w, x, answer)
			defer c.Close()
			_, _, err := http.NewResponseController(w).Hijack()
			x.note("again: %v", err)
			w.WriteHeader(404)
			x.writeString(w, "hello")
		},
		"hijack, then abort": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			c, _ := hijack(w, x, answer)
			defer c.Close()
			panic(http.ErrAbortHandler)
		},
	}
}

// timed are handlers that set deadlines.
func timed() map[string]handle {
	return map[string]handle{
		"deadlines far away": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			rc := http.NewResponseController(w)
			x.note("%v %v", rc.SetReadDeadline(time.Now().Add(time.Hour)), rc.SetWriteDeadline(time.Now().Add(time.Hour)))
			x.read(r.Body, unlimited)
			x.writeString(w, "hello")
		},
		// A body that is not large may have been read to its end before.
		"read deadline over": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			rc := http.NewResponseController(w)
			x.note("%v", rc.SetReadDeadline(aLongTimeAgo))
			switch {
			case r.ContentLength > 200000:
				_, err := io.Copy(io.Discard, r.Body)
				x.note("%v", err)
			case r.ContentLength != 0:
				x.note("%v", rc.SetReadDeadline(time.Time{}))
				x.read(r.Body, unlimited)
			}
			x.writeString(w, "hello")
		},
		"write deadline over": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.note("%v", http.NewResponseController(w).SetWriteDeadline(aLongTimeAgo))
			x.writeString(w, "hello")
			x.flush(w)
		},
		"write deadline over after a flush": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.writeString(w, "hello")
			x.noteResult(w, r, "hello")
			x.note("%v", http.NewResponseController(w).SetWriteDeadline(aLongTimeAgo))
			x.writeString(w, "more")
		},
		"write deadline over, and back": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			rc := http.NewResponseController(w)
			x.note("%v %v", rc.SetWriteDeadline(aLongTimeAgo), rc.SetWriteDeadline(time.Time{}))
			x.writeString(w, "hello")
			x.noteResult(w, r, "hello")
		},
	}
}

// files are handlers that respond with what they read elsewhere.
func files(t *testing.T) map[string]handle {
	dir := t.TempDir()
	for name, n := range map[string]int{"none": 0, "small": 300, "large": 100000} {
		if err := os.WriteFile(filepath.Join(dir, name), bodyText(n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// file copies a file, or a part of it.
	file := func(name string, most int64, before handle) handle {
		return func(w http.ResponseWriter, r *http.Request, x *exchange) {
			before(w, r, x)
			f, err := os.Open(filepath.Join(dir, name))
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			var from io.Reader = f
			if most > 0 {
				from = io.LimitReader(f, most)
			}
			n, err := io.Copy(w, from)
			x.note("copy: %d, %v", n, err)
		}
	}
	length := func(n int) handle { return respondWith(http.Header{"Content-Length": {strconv.Itoa(n)}}) }
	flush := func(w http.ResponseWriter, r *http.Request, x *exchange) { x.noteResult(w, r, "\r\n\r\n") }
	return map[string]handle{
		"file":                         file("large", 0, respondWith(nil)),
		"file, length":                 file("large", 0, length(100000)),
		"file, length too long":        file("large", 0, length(100001)),
		"file, length far too short":   file("large", 0, length(100)),
		"file after a write":           file("large", 0, respondWith(nil, "hello")),
		"file after a write, length":   file("large", 0, respondWith(http.Header{"Content-Length": {"100005"}}, "hello")),
		"file after a flush":           file("large", 0, flush),
		"file, Connection: close":      file("large", 0, respondWith(http.Header{"Connection": {"close"}})),
		"file, status 204":             file("large", 0, withStatus(nil, 204)),
		"file, status 304":             file("large", 0, withStatus(nil, 304)),
		"file, trailer":                file("large", 0, respondWith(http.Header{"Trailer": {"X-Sum"}, "X-Sum": {"1"}})),
		"file, small":                  file("small", 0, respondWith(nil)),
		"file, small, length":          file("small", 0, length(300)),
		"file, empty":                  file("none", 0, respondWith(nil)),
		"file, empty, length":          file("none", 0, length(0)),
		"part of a file":               file("large", 3000, respondWith(nil)),
		"part of a file, length":       file("large", 3000, length(3000)),
		"part of a file, 512, length":  file("large", 512, length(512)),
		"part of a file, small":        file("large", 200, respondWith(nil)),
		"part of a file after a write": file("large", 3000, respondWith(nil, string(bodyText(1000)))),
		"copied from a reader": func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			n, err := io.Copy(w, io.LimitReader(strings.NewReader(string(bodyText(5000))), 4000))
			x.note("copy: %d, %v", n, err)
		},
		"copied from a reader, length": func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			w.Header().Set("Content-Length", "4000")
			n, err := io.Copy(w, io.LimitReader(strings.NewReader(string(bodyText(5000))), 4000))
			x.note("copy: %d, %v", n, err)
		},
		"copied from a reader that fails": func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			from, to := io.Pipe()
			go func() { // ends when all of it was read
				to.Write(bodyText(3000))
				to.CloseWithError(io.ErrNoProgress)
			}()
			n, err := io.Copy(w, from)
			x.note("copy: %d, %v", n, err)
			from.Close()
		},
		"http.ServeContent": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			http.ServeContent(w, r, "a.txt", time.Unix(1e9, 0), strings.NewReader(string(bodyText(5000))))
		},
		"http.ServeFile": func(w http.ResponseWriter, r *http.Request, _ *exchange) {
			w.Header().Set("Last-Modified", "Tue, 15 Nov 1994 08:12:31 GMT")
			r.URL.Path = "/large"
			http.ServeFile(w, r, filepath.Join(dir, "large"))
		},
	}
}
