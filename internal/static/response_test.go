package static

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var changed = time.Date(2026, 3, 4, 5, 6, 7, 800_000_000, time.UTC)

func TestTypesAreOursOnEveryMachine(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a.html": "text/html; charset=utf-8", "a.css": "text/css; charset=utf-8", "a.JS": "text/javascript; charset=utf-8", "a.mjs": "text/javascript; charset=utf-8",
		"a.json": "application/json", "a.js.map": "application/json", "a.svg": "image/svg+xml", "a.woff2": "font/woff2", "a.wasm": "application/wasm", "a.xml": "text/xml; charset=utf-8",
		"a.mp4": "video/mp4", "a.tar.gz": "application/gzip", "a.css.br": "application/octet-stream",
		"a": "application/octet-stream", "a.": "application/octet-stream", "a.unknown": "application/octet-stream", "html": "application/octet-stream", "a.html/b": "application/octet-stream",
	} {
		if got := typeOf(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for ending, media := range types {
		if _, _, err := mime.ParseMediaType(media); err != nil || ending != strings.ToLower(ending) || strings.HasPrefix(media, "text/") != strings.HasSuffix(media, "; charset=utf-8") {
			t.Errorf("%s: %s: %v", ending, media, err)
		}
	}
}

func TestAResponseSaysWhatTheFileIs(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{"a.css": "text"})
	setModTime(t, filepath.Join(root, "a.css"), changed)
	f := New()
	t.Cleanup(f.Close)
	f.SetMounts([]Mount{{Path: "/", Dir: root}, {Path: "/kept", Dir: root, CacheControl: "public, max-age=60"}})
	want := http.Header{
		"Content-Type": {"text/css; charset=utf-8"}, "Content-Length": {"4"}, "Accept-Ranges": {"bytes"}, "X-Content-Type-Options": {"nosniff"},
		"Cache-Control": {"no-cache"}, "Last-Modified": {"Wed, 04 Mar 2026 05:06:07 GMT"},
	}
	want.Set("Etag", request(f, http.MethodGet, "/a.css").Header.Get("Etag"))
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		resp := request(f, method, "/a.css")
		if diff := cmp.Diff(want, resp.Header); diff != "" {
			t.Errorf("%s: %s", method, diff)
		}
		if text, _ := io.ReadAll(resp.Body); len(text) > 0 == (method == http.MethodHead) {
			t.Errorf("%s: the body is %q", method, text)
		}
	}
	if got := request(f, http.MethodGet, "/kept/a.css").Header.Get("Cache-Control"); got != "public, max-age=60" {
		t.Errorf("Cache-Control: %s", got)
	}
	tags := map[string]bool{want.Get("Etag"): true}
	setModTime(t, filepath.Join(root, "a.css"), changed.Add(time.Nanosecond))
	tags[request(f, http.MethodGet, "/a.css").Header.Get("Etag")] = true
	write(t, filepath.Join(root, "a.css"), "longer")
	setModTime(t, filepath.Join(root, "a.css"), changed)
	tags[request(f, http.MethodGet, "/a.css").Header.Get("Etag")] = true
	if len(tags) != 3 {
		t.Errorf("of three contents the tags are %v", tags)
	}
}

func TestConditionsAndRanges(t *testing.T) {
	t.Parallel()
	const text = "0123456789"
	root := writeTree(t, map[string]string{"a.txt": text, "empty.txt": ""})
	setModTime(t, filepath.Join(root, "a.txt"), changed)
	f := newFiles(t, map[string]string{"/": root})
	tag := request(f, http.MethodGet, "/a.txt").Header.Get("Etag")
	at := func(d time.Duration) string { return changed.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		header []string
		status int
		body   string
	}{
		{[]string{"If-None-Match", tag}, 304, ""},
		{[]string{"If-None-Match", "W/" + tag}, 304, ""},
		{[]string{"If-None-Match", `"x", ` + tag}, 304, ""},
		{[]string{"If-None-Match", "*"}, 304, ""},
		{[]string{"If-None-Match", `"x"`}, 200, text},
		{[]string{"If-None-Match", `"x"`, "If-Modified-Since", at(0)}, 200, text}, // ignored then
		{[]string{"If-Modified-Since", at(0)}, 304, ""},
		{[]string{"If-Modified-Since", at(time.Hour)}, 304, ""},
		{[]string{"If-Modified-Since", at(-time.Second)}, 200, text},
		{[]string{"If-Modified-Since", "blah"}, 200, text},
		{[]string{"If-Match", tag}, 200, text},
		{[]string{"If-Match", "*"}, 200, text},
		{[]string{"If-Match", `"x"`}, 412, ""},
		{[]string{"If-Match", "W/" + tag}, 412, ""},
		{[]string{"If-Unmodified-Since", at(0)}, 200, text},
		{[]string{"If-Unmodified-Since", at(-time.Hour)}, 412, ""},
		{[]string{"Range", "bytes=2-4"}, 206, "234"},
		{[]string{"Range", "bytes=7-"}, 206, "789"},
		{[]string{"Range", "bytes=-2"}, 206, "89"},
		{[]string{"Range", "bytes=5-100"}, 206, "56789"},
		{[]string{"Range", "bytes=10-"}, 416, "invalid range: failed to overlap\n"},
		{[]string{"Range", "bytes=-0"}, 416, "invalid range: failed to overlap\n"},
		{[]string{"Range", "bytes=4-2"}, 416, "invalid range: failed to overlap\n"},
		{[]string{"Range", "bytes=-0", "If-None-Match", tag}, 304, ""},
		{[]string{"Range", "bytes=-0", "If-Range", `"x"`}, 200, text},
		{[]string{"Range", "lines=1-2"}, 200, text}, // an unknown unit
		{[]string{"Range", "BYTES=2-4"}, 206, "234"},
		{[]string{"Range", "bytes=-0,2-4,10-"}, 206, "234"},
		{[]string{"Range", "bytes=5-99999999999999999999"}, 206, "56789"},
		{[]string{"Range", "bytes=-99999999999999999999"}, 206, text},
		{[]string{"Range", "bytes=0-8,0-8,0-8"}, 200, text}, // more than the whole file
		{[]string{"Range", "bytes=2-4", "If-Range", tag}, 206, "234"},
		{[]string{"Range", "bytes=2-4", "If-Range", `"x"`}, 200, text},
		{[]string{"Range", "bytes=2-4", "If-Range", at(0)}, 206, "234"},
		{[]string{"Range", "bytes=2-4", "If-Range", at(-time.Hour)}, 200, text},
		{[]string{"Range", "bytes=2-4", "If-None-Match", tag}, 304, ""},
	} {
		resp := request(f, http.MethodGet, "/a.txt", c.header...)
		got, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != c.status || string(got) != c.body {
			t.Errorf("%q is answered with %d %q, want %d %q", c.header, resp.StatusCode, got, c.status, c.body)
		}
		if c.status == 416 && resp.Header.Get("Content-Range") != "bytes */10" {
			t.Errorf("%q is answered with %v", c.header, resp.Header)
		}
		if c.status == 416 && (resp.Header.Get("Etag") != "" || resp.Header.Get("Cache-Control") != "") {
			t.Errorf("%q is answered with %v", c.header, resp.Header)
		}
	}
	if resp := request(f, http.MethodHead, "/a.txt", "Range", "bytes=2-4"); resp.StatusCode != 200 || resp.ContentLength != 10 {
		t.Errorf("HEAD with a range is answered with %d of %d bytes", resp.StatusCode, resp.ContentLength)
	}
	if resp := request(f, http.MethodGet, "/empty.txt", "Range", "bytes=0-4"); resp.StatusCode != 200 {
		t.Errorf("a range of nothing is answered with %d", resp.StatusCode)
	}
	resp := request(f, http.MethodGet, "/a.txt", "Range", "bytes=0-1,8-")
	_, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	parts := multipart.NewReader(resp.Body, params["boundary"])
	for _, want := range []string{"01 bytes 0-1/10", "89 bytes 8-9/10"} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(part)
		if got := fmt.Sprintf("%s %s", text, part.Header.Get("Content-Range")); got != want || part.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("got %q of %v, want %q", got, part.Header, want)
		}
	}
}

func TestTheEncodingThatIsWantedMostIsSent(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{
		"a.css": "as it is", "a.css.br": "brotli!", "a.css.gz": "gz", "g.css": "as it is", "g.css.gz": "gz", "n.css": "as it is",
		"old.css": "as it is", "old.css.br": "old", "link.css": "as it is", "out": "secret", "dir.css/x": "", "dir.css.gz": "gz",
	})
	symlink(t, filepath.Join(root, "out"), filepath.Join(root, "link.css.br"))
	entries, _ := os.ReadDir(root)
	for _, e := range entries {
		setModTime(t, filepath.Join(root, e.Name()), changed)
	}
	setModTime(t, filepath.Join(root, "old.css.br"), changed.Add(-time.Nanosecond))
	setModTime(t, filepath.Join(root, "g.css.gz"), changed.Add(time.Hour))
	f := newFiles(t, map[string]string{"/": root})
	for _, c := range []struct{ path, accept, want string }{
		{"/a.css", "", ""},
		{"/a.css", "br", "br"},
		{"/a.css", "gzip", "gzip"},
		{"/a.css", "x-gzip", "gzip"},
		{"/a.css", "GZIP;Q=0.3", "gzip"},
		{"/a.css", "gzip, deflate, br, zstd", "br"},
		{"/a.css", "gzip;q=1.0, br;q=0.9", "gzip"},
		{"/a.css", "gzip;q=0.5 , br ; q=0.5", "br"},
		{"/a.css", "*", "br"},
		{"/a.css", "*;q=0.1", "br"},
		{"/a.css", "br;q=0, *", "gzip"},
		{"/a.css", "br;q=0", ""},
		{"/a.css", "br;q=0, gzip;q=0.000", ""},
		{"/a.css", "*;q=0", ""},
		{"/a.css", "identity;q=0, *;q=0", ""},
		{"/a.css", "*;q=0, gzip;q=0.1", "gzip"},
		{"/a.css", "identity, br;q=0.5", ""},
		{"/a.css", "identity;q=0.5, br;q=0.5", "br"},
		{"/a.css", "identity", ""},
		{"/a.css", "deflate, zstd", ""},
		{"/a.css", "brx, bro, b", ""},
		{"/a.css", "br;q=2, gzip;q=NaN", ""},
		{"/a.css", "br;q=-1, gzip;q=", ""},
		{"/a.css", ",;,;q=1,gzip;x=1;q=0.2", "gzip"},
		{"/g.css", "br, gzip;q=0.1", "gzip"},
		{"/g.css", "br", ""},
	} {
		resp := request(f, http.MethodGet, c.path, "Accept-Encoding", c.accept)
		text, _ := io.ReadAll(resp.Body)
		want := map[string]string{"": "as it is", "br": "brotli!", "gzip": "gz"}[c.want]
		if got := resp.Header.Get("Content-Encoding"); got != c.want || string(text) != want || resp.ContentLength != int64(len(want)) {
			t.Errorf("%s for %q is %q, %q of %d bytes", c.path, c.accept, got, text, resp.ContentLength)
		}
		if resp.Header.Get("Vary") != "Accept-Encoding" || resp.Header.Get("Content-Type") != "text/css; charset=utf-8" {
			t.Errorf("%s for %q: %v", c.path, c.accept, resp.Header)
		}
	}
	for _, path := range []string{"/n.css", "/old.css", "/link.css"} {
		resp := request(f, http.MethodGet, path, "Accept-Encoding", "br, gzip")
		if resp.StatusCode != 200 || resp.Header.Get("Vary") != "" || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
	if resp := request(f, http.MethodGet, "/dir.css", "Accept-Encoding", "gzip"); resp.StatusCode != notServed {
		t.Errorf("what is encoded without an original is answered with %d", resp.StatusCode)
	}
	if resp := request(f, http.MethodGet, "/a.css.gz", "Accept-Encoding", "gzip"); resp.Header.Get("Content-Encoding") != "" || resp.Header.Get("Content-Type") != "application/gzip" || resp.Header.Get("Vary") != "" {
		t.Errorf("by its own name: %v", resp.Header)
	}
}

func TestAnEncodedFileIsAFileOfItsOwn(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{"a.css": "same len", "a.css.br": "SAME LEN"})
	for _, name := range []string{"a.css", "a.css.br"} {
		setModTime(t, filepath.Join(root, name), changed)
	}
	f := newFiles(t, map[string]string{"/": root})
	plain := request(f, http.MethodGet, "/a.css").Header.Get("Etag")
	tag := request(f, http.MethodGet, "/a.css", "Accept-Encoding", "br").Header.Get("Etag")
	if tag == plain || strings.HasPrefix(tag, "W/") {
		t.Errorf("the tags are %s and %s", plain, tag)
	}
	for _, c := range []struct {
		header   []string
		status   int
		body     string
		encoding string
	}{
		{[]string{"If-None-Match", tag}, 304, "", ""},
		{[]string{"If-None-Match", plain}, 200, "SAME LEN", "br"},
		{[]string{"If-Match", plain}, 412, "", "br"},
		{[]string{"Range", "bytes=5-"}, 206, "LEN", "br"},
		{[]string{"Range", "bytes=5-", "If-Range", plain}, 200, "SAME LEN", "br"},
		{[]string{"Range", "bytes=50-"}, 416, "invalid range: failed to overlap\n", ""},
	} {
		resp := request(f, http.MethodGet, "/a.css", append(c.header, "Accept-Encoding", "br")...)
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != c.status || string(text) != c.body || resp.Header.Get("Content-Encoding") != c.encoding || resp.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q is answered with %d %q %v", c.header, resp.StatusCode, text, resp.Header)
		}
		if length := resp.Header.Get("Content-Length"); length != "" && length != fmt.Sprint(len(text)) {
			t.Errorf("%q: %d bytes are said to be %s", c.header, len(text), length)
		}
	}
	if resp := request(f, http.MethodHead, "/a.css", "Accept-Encoding", "br"); resp.ContentLength != 8 {
		t.Errorf("HEAD says %d bytes", resp.ContentLength)
	}
}

func TestAFileThatChangesWhileItIsSentIsCutAndNeverMixed(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	for name, accept := range map[string]string{"a.bin": "identity", "e.bin": "br"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := writeTree(t, map[string]string{name: "", name + ".br": ""})
			file := filepath.Join(root, name)
			if accept == "br" {
				file += ".br"
			}
			write(t, file, strings.Repeat("x", size))
			setModTime(t, filepath.Join(root, name), changed)
			f := newFiles(t, map[string]string{"/": root})
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h, _ := f.Find(r)
				if r.URL.Query().Has("grow") {
					appendTo(t, file, "more")
				}
				h.ServeHTTP(w, r)
			}))
			t.Cleanup(srv.Close)
			get := func(query string) (*http.Response, []byte, error) {
				req, _ := http.NewRequest(http.MethodGet, srv.URL+"/"+name+query, nil)
				req.Header.Set("Accept-Encoding", accept)
				resp, err := srv.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				head := make([]byte, 1<<20)
				io.ReadFull(resp.Body, head)
				if query == "" {
					if err := os.Truncate(file, 1<<10); err != nil {
						t.Error(err)
					}
				}
				rest, err := io.ReadAll(resp.Body)
				return resp, append(head, rest...), err
			}
			if resp, got, err := get("?grow"); err != nil || len(got) != size || resp.ContentLength != size || bytes.Contains(got, []byte("more")) {
				t.Errorf("of a file that grew came %d bytes, %d were told: %v", len(got), resp.ContentLength, err)
			}
			write(t, file, strings.Repeat("x", size))
			if resp, got, err := get(""); err != io.ErrUnexpectedEOF || len(got) >= size || resp.ContentLength != size {
				t.Errorf("of a file that was truncated came %d bytes, %d were told: %v", len(got), resp.ContentLength, err)
			}
		})
	}
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	f.WriteString(text)
}

func TestRangesAreReadAsTheyAreDefined(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{
		"bytes=0-0":                    "bytes=0-0",
		"bytes=0-":                     "bytes=0-",
		"bytes=-3":                     "bytes=-3",
		"bytes= 1-2 ,, 3-4\t":          "bytes=1-2,3-4",
		"bytes=1-20":                   "bytes=1-20",
		"bytes=10-,0-0":                "bytes=0-0",
		"bytes=-0, -1":                 "bytes=-1",
		"bytes=00-09":                  "bytes=0-9",
		"bytes=-0":                     "bytes=10-",
		"bytes=-00":                    "bytes=10-",
		"bytes=10-":                    "bytes=10-",
		"bytes=99999999999999999999-":  "bytes=10-",
		"bytes=0-99999999999999999999": "bytes=0-4611686018427387903",
		// Invalid ranges.
		"bytes=-":       "bytes=10-",
		"bytes=x":       "bytes=10-",
		"bytes=1":       "bytes=10-",
		"bytes=+1-2":    "bytes=10-",
		"bytes=1-+2":    "bytes=10-",
		"bytes=-+2":     "bytes=10-",
		"bytes=--2":     "bytes=10-",
		"bytes=1 - 2":   "bytes=10-",
		"bytes=1-2-3":   "bytes=10-",
		"bytes=3-2":     "bytes=10-",
		"bytes=0-1,3-2": "bytes=10-",
		// Ignored ranges.
		"":                                     "",
		"bytes":                                "",
		"bytes=":                               "",
		"bytes=,":                              "",
		"bytes =0-1":                           "",
		"octets=0-1":                           "",
		"bytes=" + strings.Repeat("0-0,", 100): "",
	} {
		if got := validRanges(field, 10); got != want {
			t.Errorf("%q is read as %q, want %q", field, got, want)
		}
	}
	for field, want := range map[string]int{"bytes=0-": 200, "bytes=-5": 200, "bytes=3-4": 200, "bytes=-0": 416} {
		f := newFiles(t, map[string]string{"/": writeTree(t, map[string]string{"empty.txt": ""})})
		if resp := request(f, http.MethodGet, "/empty.txt", "Range", field); resp.StatusCode != want {
			t.Errorf("%q of nothing is answered with %d %v", field, resp.StatusCode, resp.Header)
		}
	}
}

// readerFromRecorder records what its ReadFrom receives.
type readerFromRecorder struct {
	*httptest.ResponseRecorder
	from io.Reader
}

func (w *readerFromRecorder) ReadFrom(r io.Reader) (int64, error) {
	w.from = r
	return io.Copy(w.ResponseRecorder, r)
}

// A file reaches the writer in a form that package net lets the kernel send.
func TestAFileIsHandedOverWithItsDescriptor(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{"a.css": "as it is", "a.css.gz": "gz"})
	for _, entry := range []string{"a.css", "a.css.gz"} {
		setModTime(t, filepath.Join(root, entry), changed)
	}
	f := newFiles(t, map[string]string{"/": root})
	for _, header := range []string{"", "Range", "Accept-Encoding"} {
		r := httptest.NewRequest(http.MethodGet, "/a.css", nil)
		r.Header.Set(header, map[string]string{"Range": "bytes=1-3", "Accept-Encoding": "gzip"}[header])
		h, found := f.Find(r)
		if !found {
			t.Fatal("there is no file")
		}
		w := &readerFromRecorder{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(w, r)
		limited, ok := w.from.(*io.LimitedReader)
		if !ok {
			t.Errorf("%s: the file comes as %T", header, w.from)
			continue
		}
		if _, ok := limited.R.(syscall.Conn); !ok {
			t.Errorf("%s: the file comes as %T in a limited reader", header, limited.R)
		}
	}
}
