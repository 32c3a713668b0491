package live

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"tqserver/internal/state"
)

var root = state.Page{Route: "/", Dir: "pages/index", Phase: state.Serving, ServingBuild: 7}

var tagged = regexp.MustCompile(`<script async src="/_tqserver/live-[0-9a-f]+\.js"[^>]*></script>`)

const document = "<!doctype html><html lang=en><head><title>Tea</title></head><body><p>Tea &amp; more</p></body></html>\n"

func compressed(t *testing.T, coding string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	default:
		return []byte(document)
	}
	io.WriteString(w, document)
	w.Close()
	return b.Bytes()
}

func TestDocumentsGetTheScriptWhateverTheirCoding(t *testing.T) {
	t.Parallel()
	l := newLive(t, root)
	srv := serve(t, l.behindProxy("/", func(w http.ResponseWriter, r *http.Request) {
		body := compressed(t, r.FormValue("coding"))
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("X-Tq-Build", "7; stale")
		if c := r.FormValue("coding"); c != "" {
			w.Header().Set("Content-Encoding", c)
		}
		if r.FormValue("length") != "" {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		w.Write(body)
	}))
	for _, coding := range []string{"", "gzip", "br", "zstd"} {
		for _, length := range []string{"", "known"} {
			for _, method := range []string{"GET", "HEAD"} {
				req, _ := http.NewRequest(method, srv.URL+"?coding="+coding+"&length="+length, nil)
				resp, err := srv.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				name := fmt.Sprintf("%s %q %s", method, coding, length)
				if err != nil || resp.Header.Get("Content-Encoding") != "" {
					t.Errorf("%s: %v, %v", name, err, resp.Header)
				}
				tag := `<script async src="/_tqserver/` + scriptName + `" data-page="/" data-face="10.s7.0" data-way="shared"></script>`
				want := strings.Replace(document, "<head>", "<head>"+tag, 1)
				if coding == "" && length != "" && resp.ContentLength != int64(len(want)) {
					t.Errorf("%s: %d bytes are announced, want %d", name, resp.ContentLength, len(want))
				}
				if method == "GET" && string(body) != want {
					t.Errorf("%s: %q", name, body)
				}
			}
		}
	}
}

func TestEverythingElseIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	type h = map[string]string
	l := newLive(t, root)
	for name, c := range map[string]struct {
		answer h
		status int
	}{
		"JSON":                 {answer: h{"Content-Type": "application/json"}},
		"XHTML":                {answer: h{"Content-Type": "application/xhtml+xml"}},
		"no type":              {answer: h{"Content-Type": ""}},
		"UTF-16":               {answer: h{"Content-Type": "text/html; charset=utf-16le"}},
		"a part":               {status: 206},
		"a download":           {answer: h{"Content-Disposition": "attachment; filename=x.html"}},
		"no transformation":    {answer: h{"Cache-Control": "private, No-Transform"}},
		"an unknown coding":    {answer: h{"Content-Encoding": "compress"}},
		"two codings":          {answer: h{"Content-Encoding": "gzip, br"}},
		"a redirection":        {answer: h{"Location": "/x"}, status: 302},
		"no gzip":              {answer: h{"Content-Encoding": "gzip"}},
		"no brotli":            {answer: h{"Content-Encoding": "br"}},
		"no zstd":              {answer: h{"Content-Encoding": "zstd"}},
		"a policy of nothing":  {answer: h{"Content-Security-Policy": "default-src 'none'"}},
		"a policy of hashes":   {answer: h{"Content-Security-Policy": "script-src 'sha256-x'"}},
		"a sandbox of scripts": {answer: h{"Content-Security-Policy": "sandbox allow-forms"}},
	} {
		srv := serve(t, l.behindProxy("/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Length", strconv.Itoa(len(document)))
			for k, v := range c.answer {
				if w.Header().Set(k, v); v == "" {
					w.Header()[k] = nil
				}
			}
			w.WriteHeader(max(200, c.status))
			io.WriteString(w, document)
		}))
		resp, err := srv.Client().Transport.RoundTrip(httptest.NewRequest("GET", srv.URL, nil))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != document || resp.ContentLength != int64(len(document)) || resp.Header.Get("Content-Encoding") != c.answer["Content-Encoding"] {
			t.Errorf("%s: %q, %v, %v", name, body, resp.Header, err)
		}
	}
}

func TestAStreamIsNotHeldBack(t *testing.T) {
	t.Parallel()
	for _, coding := range []string{"", "gzip"} {
		more := make(chan struct{})
		srv := serve(t, newLive(t, root).behindProxy("/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			flush, to := http.NewResponseController(w).Flush, io.Writer(w)
			if coding != "" {
				w.Header().Set("Content-Encoding", coding)
				z := gzip.NewWriter(w)
				defer z.Close()
				to, flush = z, func() error { z.Flush(); return http.NewResponseController(w).Flush() }
			}
			flush()
			io.WriteString(to, "<!doctype html>first")
			flush()
			<-more
			io.WriteString(to, " second</body>")
		}))
		resp, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		in, start := bufio.NewReader(resp.Body), ""
		for !strings.HasSuffix(start, "first") {
			c, err := in.ReadByte()
			if err != nil {
				t.Fatalf("%q: %q, %v", coding, start, err)
			}
			start += string(c)
		}
		if tagged.ReplaceAllString(start, "TAG") != "<!doctype html>TAGfirst" {
			t.Errorf("%q: %q", coding, start)
		}
		close(more)
		rest, err := io.ReadAll(in)
		resp.Body.Close()
		if err != nil || string(rest) != " second</body>" {
			t.Errorf("%q: %q, %v", coding, rest, err)
		}
	}
}

func TestAnAnswerThatIsCutShortIsNotEndedWell(t *testing.T) {
	t.Parallel()
	half := compressed(t, "gzip")
	half = half[:len(half)/2]
	for name, page := range map[string]http.HandlerFunc{
		"the page ends": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "<body>")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"a coding ends": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(half)
		},
		"a coding that changes": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(half)
			http.NewResponseController(w).Flush()
			for range 100 {
				if _, err := io.WriteString(w, document); err != nil {
					panic(http.ErrAbortHandler)
				}
			}
		},
		"the page ends in a coding": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(half)
			panic(http.ErrAbortHandler)
		},
	} {
		srv := serve(t, newLive(t, root).behindProxy("/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			page(w, r)
		}))
		resp, err := srv.Client().Get(srv.URL)
		if err != nil {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Errorf("%s: it ends well, after %q", name, body)
		}
	}
}

func TestADocumentWithTheScriptHasNoValidatorsOfTheOneWithout(t *testing.T) {
	t.Parallel()
	fields := []string{"Etag", "Last-Modified", "Accept-Ranges", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"}
	srv := serve(t, newLive(t, root).behindProxy("/", func(w http.ResponseWriter, r *http.Request) {
		for _, name := range conditions {
			if r.Header.Get(name) != "" && r.Method != "POST" {
				t.Errorf("%s: the page gets the field %s", r.Method, name)
			}
		}
		for _, name := range fields {
			w.Header().Set(name, "x")
		}
		w.Header().Set("Content-Type", r.FormValue("type"))
		w.Header().Set("Trailer", "X-Sum, repr-digest")
		io.WriteString(w, document)
		w.Header().Set("X-Sum", "1")
		w.Header().Set("Repr-Digest", "x")
		w.Header().Set(http.TrailerPrefix+"Content-Digest", "x")
	}))
	for _, c := range []struct {
		method, kind string
		kept         bool
	}{{"GET", "text/html", false}, {"HEAD", "text/html", false}, {"POST", "text/html", false}, {"GET", "image/png", true}} {
		req, _ := http.NewRequest(c.method, srv.URL+"?type="+c.kind, nil)
		for _, name := range conditions {
			req.Header.Set(name, "x")
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		for _, name := range fields {
			if kept := resp.Header.Get(name) != ""; kept != c.kept {
				t.Errorf("%s %s: %s is kept: %v", c.method, c.kind, name, kept)
			}
		}
		sums := len(resp.Trailer["Repr-Digest"]) + len(resp.Trailer["Content-Digest"])
		if c.method != "HEAD" && (resp.Trailer.Get("X-Sum") != "1" || (sums > 0) != c.kept) {
			t.Errorf("%s %s: the trailer is %v", c.method, c.kind, resp.Trailer)
		}
	}
}

func TestHEADTellsOfWhatGETGets(t *testing.T) {
	t.Parallel()
	srv := serve(t, newLive(t, root).behindProxy("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", strconv.Itoa(len(document)))
		io.WriteString(w, document)
	}))
	get, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(get.Body)
	get.Body.Close()
	head, err := srv.Client().Head(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	get.Header.Del("Date")
	head.Header.Del("Date")
	if head.ContentLength != int64(len(body)) || !cmp.Equal(head.Header, get.Header) {
		t.Errorf("%d bytes are announced of %d: %s", head.ContentLength, len(body), cmp.Diff(get.Header, head.Header))
	}
}

func TestUTF16IsKnownByItsBytes(t *testing.T) {
	t.Parallel()
	const text = "\xff\xfe<\x00p\x00>\x00"
	srv := serve(t, newLive(t, root).behindProxy("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.Header().Set("Etag", `"x"`)
		for i := range len(text) {
			io.WriteString(w, text[i:i+1])
			http.NewResponseController(w).Flush()
		}
	}))
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != text || resp.Header.Get("Etag") == "" {
		t.Errorf("%q, %v, %v", body, resp.Header, err)
	}
}

func TestWhatCameBeforeACutReachesTheClient(t *testing.T) {
	t.Parallel()
	for _, coding := range []string{"", "br"} {
		const part = "<!-- the beginn"
		srv := serve(t, newLive(t, root).behindProxy("/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Length", "1000")
			if coding != "" {
				w.Header().Set("Content-Encoding", coding)
			}
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, part)
			panic(http.ErrAbortHandler)
		}))
		resp, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil || resp.StatusCode != http.StatusCreated || !strings.HasSuffix(string(body), part) {
			t.Errorf("%q: %d, %q, %v", coding, resp.StatusCode, body, err)
		}
	}
}

// sink takes an answer and keeps nothing.
type sink struct {
	header http.Header
	bytes  int64
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(b []byte) (int, error) { s.bytes += int64(len(b)); return len(b), nil }

func TestALongDocumentPassesInLittleMemory(t *testing.T) {
	piece := bytes.Repeat([]byte("<p>some text of a table</p>\n"), 1<<20/28)
	l := newLive(t, root)
	s := &sink{header: http.Header{"Content-Type": {"text/html"}}}
	w, end := l.Dress(s, httptest.NewRequest("GET", "/", nil), "/")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var sent, most int64
	for n := 0; sent < 500<<20; n++ {
		k, _ := w.Write(piece)
		sent += int64(k)
		if n%100 == 0 {
			runtime.ReadMemStats(&after)
			most = max(most, int64(after.HeapAlloc)-int64(before.HeapAlloc))
		}
	}
	end(true)
	if s.bytes <= sent || s.bytes > sent+1000 {
		t.Errorf("of %d bytes %d came", sent, s.bytes)
	}
	if most > 4<<20 {
		t.Errorf("it took %d KiB", most>>10)
	}
}

func BenchmarkDress(b *testing.B) {
	l := New(Options{})
	page := []byte("<!doctype html><body>" + strings.Repeat("<p class=\"x\">some text of a page</p>\n", 20_000/37) + "</body></html>\n")
	r := httptest.NewRequest("GET", "/", nil)
	b.SetBytes(int64(len(page)))
	for b.Loop() {
		s := &sink{header: http.Header{"Content-Type": {"text/html"}, "Content-Length": {strconv.Itoa(len(page))}}}
		w, end := l.Dress(s, r, "/")
		w.Write(page)
		end(true)
	}
}
