package wire

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"testing"
)

// handlers are the handlers whose responses are compared.
func handlers(t *testing.T) map[string]handle {
	all := make(map[string]handle)
	for _, some := range []map[string]handle{
		statuses(), bodies(), framed(), fields(), flushed(), interim(), trailers(), aborted(), copiers(), duplex(), hijackers(), timed(), files(t),
	} {
		for name, h := range some {
			if all[name] != nil {
				t.Fatalf("there are two handlers %q", name)
			}
			all[name] = h
		}
	}
	return all
}

// write writes p in pieces of a size, or all at once if that is 0.
func (x *exchange) write(w io.Writer, p []byte, size int) {
	if size == 0 {
		size = len(p)
	}
	for piece := range slices.Chunk(p, size) {
		if n, err := w.Write(piece); n != len(piece) || err != nil {
			x.note("write: %d, %v", n, err)
		}
	}
}

func (x *exchange) writeString(w io.Writer, s string) {
	if n, err := io.WriteString(w, s); n != len(s) || err != nil {
		x.note("write: %d, %v", n, err)
	}
}

func (x *exchange) flush(w http.ResponseWriter) {
	if err := http.NewResponseController(w).Flush(); err != nil {
		x.note("flush: %v", err)
	}
}

// noteResult flushes and waits until what was written last has arrived. Without a
// body that is the header.
func (x *exchange) noteResult(w http.ResponseWriter, r *http.Request, what string) {
	x.flush(w)
	if r.Method == http.MethodHead {
		what = "\r\n\r\n"
	}
	x.awaitNote(what)
}

// read reads a body, or at most so much of it.
func (x *exchange) read(from io.Reader, most int64) {
	b, err := io.ReadAll(io.LimitReader(from, most))
	x.note("%d bytes of the body: %.8q, %v", len(b), b, err)
}

const unlimited = 1 << 40

func statuses() map[string]handle {
	all := map[string]handle{
		"nothing": func(http.ResponseWriter, *http.Request, *exchange) {},
		"status 200, then 404": func(w http.ResponseWriter, _ *http.Request, _ *exchange) {
			w.WriteHeader(200)
			w.WriteHeader(404)
		},
		"body, then 404": func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			x.writeString(w, "hello")
			w.WriteHeader(404)
			x.writeString(w, " and more")
		},
		"status 101, upgraded": func(w http.ResponseWriter, _ *http.Request, _ *exchange) {
			w.Header().Set("Connection", "upgrade")
			w.Header().Set("Upgrade", "other")
			w.WriteHeader(101)
		},
		"http.Error": func(w http.ResponseWriter, _ *http.Request, _ *exchange) {
			w.Header().Set("Content-Length", "10")
			w.Header().Set("Content-Encoding", "gzip")
			http.Error(w, "bad", 400)
		},
		"http.Redirect": func(w http.ResponseWriter, r *http.Request, _ *exchange) {
			http.Redirect(w, r, "/else", http.StatusFound)
		},
	}
	for _, status := range []int{99, 101, 200, 204, 205, 206, 304, 404, 417, 500, 599, 999, 1000} {
		all["status "+strconv.Itoa(status)] = func(w http.ResponseWriter, _ *http.Request, _ *exchange) { w.WriteHeader(status) }
	}
	for _, status := range []int{101, 204, 205, 304, 417} {
		all["status "+strconv.Itoa(status)+" with a body"] = func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			w.Header().Set("X-Some", "value")
			w.WriteHeader(status)
			x.write(w, bodyText(5), 0)
			x.writeString(w, "hello")
		}
	}
	return all
}

func bodies() map[string]handle {
	all := map[string]handle{
		"small body":   func(w http.ResponseWriter, _ *http.Request, x *exchange) { x.write(w, []byte("hello"), 0) },
		"small string": func(w http.ResponseWriter, _ *http.Request, x *exchange) { x.writeString(w, "hello") },
		"empty write":  func(w http.ResponseWriter, _ *http.Request, x *exchange) { x.note("%v", secondOf(w.Write(nil))) },
		"HTML in two": func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			x.writeString(w, "<ht")
			x.writeString(w, "ml>hello")
		},
		"HTML in two, flushed between": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.writeString(w, "<ht")
			x.noteResult(w, r, "<ht")
			x.writeString(w, "ml>hello")
		},
		"binary": func(w http.ResponseWriter, _ *http.Request, x *exchange) { x.write(w, []byte{0, 1, 2, 0xff}, 0) },
	}
	for _, n := range []int{2047, 2048, 2049, 4095, 4096, 4097, 6144, 100000} {
		name := "body of " + strconv.Itoa(n)
		all[name] = func(w http.ResponseWriter, _ *http.Request, x *exchange) { x.write(w, bodyText(n), 0) }
		all[name+" in many"] = func(w http.ResponseWriter, _ *http.Request, x *exchange) { x.write(w, bodyText(n), 100) }
		all[name+" as a string"] = func(w http.ResponseWriter, _ *http.Request, x *exchange) { x.writeString(w, string(bodyText(n))) }
		all[name+" with its length"] = func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			w.Header().Set("Content-Length", strconv.Itoa(n))
			x.write(w, bodyText(n), 0)
		}
	}
	return all
}

func secondOf[A, B any](_ A, b B) B { return b }

// respondWith sets fields and writes the pieces of a body.
func respondWith(h http.Header, pieces ...string) handle {
	return func(w http.ResponseWriter, _ *http.Request, x *exchange) {
		for name, values := range h {
			w.Header()[name] = values
		}
		for _, piece := range pieces {
			x.writeString(w, piece)
		}
	}
}

// withStatus sets fields and a status, and writes the pieces of a body.
func withStatus(h http.Header, status int, pieces ...string) handle {
	return func(w http.ResponseWriter, r *http.Request, x *exchange) {
		respondWith(h)(w, r, x)
		w.WriteHeader(status)
		respondWith(nil, pieces...)(w, r, x)
	}
}

// framed are handlers that set the framing of the body.
func framed() map[string]handle {
	length := func(s string) http.Header { return http.Header{"Content-Length": {s}} }
	coding := func(s string) http.Header { return http.Header{"Transfer-Encoding": {s}} }
	return map[string]handle{
		"length":                        respondWith(length("5"), "hello"),
		"length, in two":                respondWith(length("5"), "he", "llo"),
		"length 0":                      respondWith(length("0")),
		"length, nothing written":       respondWith(length("5")),
		"length too long":               respondWith(length("10"), "hello"),
		"length too long by far":        respondWith(length("100000"), string(bodyText(5000))),
		"length too short":              respondWith(length("3"), "hello"),
		"length too short for the last": respondWith(length("7"), "hello", " and", " more"),
		"length that is none":           respondWith(length("abc"), "hello"),
		"length that is negative":       respondWith(length("-1"), "hello"),
		"length, status 200":            withStatus(length("5"), 200, "hello"),
		"length, status 204":            withStatus(length("5"), 204),
		"length, status 205":            withStatus(length("0"), 205),
		"length, status 304":            withStatus(length("5"), 304),
		"length, status 304, body":      withStatus(length("5"), 304, "hello"),
		"chunked":                       respondWith(coding("chunked"), "hello"),
		"chunked, nothing written":      respondWith(coding("chunked")),
		"chunked, status 204":           withStatus(coding("chunked"), 204),
		"chunked, length":               respondWith(http.Header{"Transfer-Encoding": {"chunked"}, "Content-Length": {"5"}}, "hello"),
		"identity":                      respondWith(coding("identity"), "hello"),
		"identity, in many":             respondWith(coding("identity"), string(bodyText(2000)), string(bodyText(2000)), "end"),
		"identity, length":              respondWith(http.Header{"Transfer-Encoding": {"identity"}, "Content-Length": {"5"}}, "hello"),
		"coding gzip":                   respondWith(coding("gzip"), "hello"),
	}
}

// fields are handlers that set other fields.
func fields() map[string]handle {
	field := func(name string, values ...string) handle {
		return respondWith(http.Header{name: values}, "<html>hello")
	}
	return map[string]handle{
		"Connection: close":                  field("Connection", "close"),
		"Connection: close, nothing written": respondWith(http.Header{"Connection": {"close"}}),
		"Connection: close in a list":        field("Connection", "X-Some, close"),
		"Connection: Close":                  field("Connection", "Close"),
		"Connection: keep-alive":             field("Connection", "keep-alive"),
		"Connection: keep-alive, length":     respondWith(http.Header{"Connection": {"keep-alive"}, "Content-Length": {"5"}}, "hello"),
		"Connection: other":                  field("Connection", "X-Some"),
		"Connection nil":                     field("Connection"),
		"Date":                               field("Date", "Tue, 15 Nov 1994 08:12:31 GMT"),
		"Date nil":                           field("Date"),
		"Date empty":                         field("Date", ""),
		"Content-Type":                       field("Content-Type", "text/x"),
		"Content-Type nil":                   field("Content-Type"),
		"Content-Type empty":                 field("Content-Type", ""),
		"Content-Type, status 304":           withStatus(http.Header{"Content-Type": {"text/x"}, "Etag": {`"x"`}}, 304),
		"Content-Type, status 204":           withStatus(http.Header{"Content-Type": {"text/x"}}, 204),
		"Content-Encoding":                   field("Content-Encoding", "gzip"),
		"Content-Encoding empty":             field("Content-Encoding", ""),
		"several values":                     field("X-Some", "a", "", "b", "a"),
		"spaces around a value":              field("X-Some", " \ta b\t "),
		"names in lower case":                respondWith(http.Header{"x-some": {"a"}, "X-Some": {"b"}, "content-type": {"c"}, "connection": {"d"}, "date": {"e"}}, "hello"),
		"bad names and values": respondWith(http.Header{
			"X-Line": {"one\ntwo", "three\r\nX-Injected: 1", "four\r"}, "X Space": {"a"}, "X-Cr\r\nX-Injected": {"a"}, "": {"a"}, "X:Colon": {"a"}, "X-\xfc": {"a"},
			"X-Nul": {"a\x00b"}, "X-8bit": {"J\xfcrgen"}, "Connection": {"close\r\nX-Injected: 1"},
		}, "hello"),
		"changed after WriteHeader": func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			h := w.Header()
			h["X-Some"] = []string{"a", "b"}
			w.WriteHeader(201)
			h["X-Some"][1] = "late"
			h.Set("X-Late", "late")
			h.Set("Content-Length", "3")
			w.Header().Set("Content-Type", "late")
			w.Header().Del("X-Some")
			x.writeString(w, "hello")
		},
		"set first after WriteHeader": func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			w.WriteHeader(201)
			w.Header().Set("X-Late", "late")
			x.writeString(w, "hello")
		},
		"changed after a write": func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			x.writeString(w, "hello")
			w.Header().Set("X-Late", "late")
			w.Header().Set("Connection", "close")
		},
		"changed after a flush": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.Header().Set("X-Some", "a")
			x.noteResult(w, r, "X-Some: a")
			w.Header().Set("X-Late", "late")
			x.writeString(w, "hello")
		},
	}
}

func flushed() map[string]handle {
	return map[string]handle{
		"flush before a body": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.noteResult(w, r, "\r\n\r\n")
			x.writeString(w, "<html>hello")
		},
		"flush between": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			for _, piece := range []string{"one", "two", "three"} {
				x.writeString(w, piece)
				x.noteResult(w, r, piece)
			}
		},
		"flush at the end": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.writeString(w, "hello")
			x.noteResult(w, r, "hello")
		},
		"flush without a body": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.WriteHeader(404)
			x.noteResult(w, r, "\r\n\r\n")
			x.flush(w)
		},
		"flush a status without a body": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.WriteHeader(204)
			x.noteResult(w, r, "\r\n\r\n")
		},
		"flush between, length": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.Header().Set("Content-Length", "11")
			x.writeString(w, "one")
			x.noteResult(w, r, "one")
			x.writeString(w, "and two,")
			x.noteResult(w, r, "and two,")
		},
		"flush between large pieces": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			for _, end := range []string{"one", "two"} {
				x.write(w, bodyText(10000), 0)
				x.writeString(w, end)
				x.noteResult(w, r, end)
			}
		},
	}
}

// interim are handlers that send an interim response first.
func interim() map[string]handle {
	hint := func(w http.ResponseWriter, status int, x *exchange) {
		w.Header()["Link"] = []string{"</a>; rel=preload", "</b>; rel=preload"}
		w.WriteHeader(status)
		x.awaitNote(strconv.Itoa(status))
	}
	return map[string]handle{
		"103": func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			hint(w, 103, x)
			x.writeString(w, "hello")
		},
		"103 twice, then another header": func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			hint(w, 103, x)
			w.Header().Add("Link", "</c>; rel=preload")
			w.WriteHeader(103)
			w.Header().Del("Link")
			w.WriteHeader(404)
			x.writeString(w, "hello")
		},
		"103 with a length": func(w http.ResponseWriter, _ *http.Request, x *exchange) {
			w.Header().Set("Content-Length", "5")
			w.Header().Set("Transfer-Encoding", "identity")
			w.Header().Set("Trailer", "X-Sum")
			w.Header().Set("Connection", "close")
			w.Header()["X Space"] = []string{"a\nb"}
			hint(w, 103, x)
			w.Header().Del("Transfer-Encoding")
			x.writeString(w, "hello")
		},
		"103, then the body is read": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			hint(w, 103, x)
			x.read(r.Body, unlimited)
			x.writeString(w, "hello")
		},
		"103 and nothing more": func(w http.ResponseWriter, _ *http.Request, x *exchange) { hint(w, 103, x) },
		"102, then a flush": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			hint(w, 102, x)
			x.noteResult(w, r, "200 OK")
		},
		"199": func(w http.ResponseWriter, _ *http.Request, x *exchange) { hint(w, 199, x) },
		"103 too late": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			x.writeString(w, "hello")
			w.WriteHeader(103)
		},
		"100, then the body is read": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.WriteHeader(100)
			x.read(r.Body, unlimited)
			x.writeString(w, "hello")
		},
		"100, the body is not read": func(w http.ResponseWriter, r *http.Request, x *exchange) {
			w.WriteHeader(100)
			x.writeString(w, "hello")
		},
	}
}

func trailers() map[string]handle {
	// trailed announces trailers, writes pieces with a flush after each, and sets
	// the trailers.
	trailed := func(before http.Header, flush bool, after http.Header, pieces ...string) handle {
		return func(w http.ResponseWriter, r *http.Request, x *exchange) {
			respondWith(before)(w, r, x)
			for _, piece := range pieces {
				x.writeString(w, piece)
				if flush {
					x.noteResult(w, r, piece)
				}
			}
			respondWith(after)(w, r, x)
		}
	}
	announced := http.Header{"Trailer": {"X-Sum, x-absent", "X-More"}, "X-More": {"early"}}
	named := http.Header{"X-Sum": {"1", "2"}, "X-More": {"late"}, "X-Unannounced": {"no"}}
	prefixed := http.Header{http.TrailerPrefix + "X-Pre": {"1", "2"}, http.TrailerPrefix + "x-lower": {"3"}, http.TrailerPrefix + "X Space": {"no"}, http.TrailerPrefix + "X-Line": {"a\r\nb"}}
	both := http.Header{"X-Sum": {"1"}, http.TrailerPrefix + "X-Pre": {"2"}, http.TrailerPrefix + "X-Sum": {"3"}}
	return map[string]handle{
		"trailer announced":                    trailed(announced, false, named, "hello"),
		"trailer announced, flushed":           trailed(announced, true, named, "hello"),
		"trailer announced, nothing written":   trailed(announced, false, named),
		"trailer announced, never set":         trailed(announced, false, nil, "hello"),
		"trailer announced, length":            trailed(http.Header{"Trailer": {"X-Sum"}, "Content-Length": {"5"}}, false, named, "hello"),
		"trailer announced, identity":          trailed(http.Header{"Trailer": {"X-Sum"}, "Transfer-Encoding": {"identity"}}, false, named, "hello"),
		"trailer announced that is forbidden":  trailed(http.Header{"Trailer": {"Content-Length, Transfer-Encoding, Trailer, X-Sum"}}, false, named, "hello"),
		"trailer announced too late":           trailed(nil, true, http.Header{"Trailer": {"X-Sum"}, "X-Sum": {"1"}}, "hello"),
		"trailer prefixed":                     trailed(nil, false, prefixed, "hello"),
		"trailer prefixed, flushed":            trailed(nil, true, prefixed, "hello"),
		"trailer prefixed, large body":         trailed(nil, false, prefixed, string(bodyText(5000))),
		"trailer prefixed, nothing written":    trailed(nil, false, prefixed),
		"trailer prefixed before the body":     trailed(prefixed, false, nil, "hello"),
		"trailer prefixed before the body, on": trailed(prefixed, true, http.Header{http.TrailerPrefix + "X-Pre": {"changed"}}, "hello", "more"),
		"trailers of both kinds":               trailed(announced, false, both, "hello"),
		"trailers of both kinds, flushed":      trailed(announced, true, both, "hello", "more"),
		"trailer, status 204":                  withStatus(announced, 204),
		"trailer, status 304":                  withStatus(announced, 304),
	}
}
