package live

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"tqserver/internal/state"
)

var root = state.Page{Route: "/", Dir: "pages/index", Phase: state.Serving, ServingOn: 7}

func TestWhereADocumentEnds(t *testing.T) {
	t.Parallel()
	for document, end := range map[string]string{
		"":                                     "",
		"<p>text":                              "",
		"<p>text</p>":                          "",
		"<body>x</body>":                       "</body>",
		"<body>x</BODY >\n</hTmL>\n":           "</BODY >\n</hTmL>\n",
		"x</body><!-- a > b --> \n<!-- c -->":  "</body><!-- a > b --> \n<!-- c -->",
		"x</body></html><script>1</script>":    "",
		"<script>'</body>'</script>":           "",
		`<iframe srcdoc="<body></body>">x`:     "",
		`<iframe srcdoc="<body></body>">x</bo`: "</bo",
		"x</body></ht":                         "</body></ht",
		"x</body><!-- not ended":               "</body><!-- not ended",
		"x<":                                   "<",
		"x</body></html><":                     "</body></html><",
		"</bodyguard>":                         "",
		"a </body> b </body>":                  "</body>",
		"x</html>":                             "",
	} {
		if at := closing([]byte(document)); document[at:] != end {
			t.Errorf("%q ends with %q, want %q", document, document[at:], end)
		}
	}
}

var tagged = regexp.MustCompile(`<script async src="/_tqserver/live-[0-9a-f]+\.js"[^>]*></script>`)

func FuzzATagIsAddedAndNothingElse(f *testing.F) {
	f.Add("<body>x</body></html>", int64(1))
	f.Add("x</body></body><!-- ", int64(2))
	f.Fuzz(func(t *testing.T, document string, seed int64) {
		var whole, pieces bytes.Buffer
		p := put{w: &whole, tag: "\x00TAG\x00"}
		p.Write([]byte(document))
		p.finish()
		rest, r := document, rand.New(rand.NewPCG(uint64(seed), 0))
		p = put{w: &pieces, tag: "\x00TAG\x00"}
		for len(rest) > 0 {
			n := 1 + r.IntN(min(len(rest), 9))
			p.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		p.finish()
		for _, got := range []string{whole.String(), pieces.String()} {
			before, after, found := strings.Cut(got, "\x00TAG\x00")
			if !found || !strings.Contains(document, "\x00TAG\x00") && before+after != document {
				t.Fatalf("%q becomes %q", document, got)
			}
		}
		if len(document) < maxTail && whole.String() != pieces.String() {
			t.Fatalf("whole %q, in pieces %q", whole.String(), pieces.String())
		}
	})
}

const document = "<!doctype html><html><body><p>Tea &amp; more</p></body></html>\n"

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
	srv := serve(t, l.door("/", func(w http.ResponseWriter, r *http.Request) {
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
				tag := `<script async src="/_tqserver/` + scriptName + `" data-page="/" data-face="10.s7.0" data-way="shared" data-method="` + method + `"></script>`
				want := strings.Replace(document, "</body>", tag+"</body>", 1)
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
		request, answer h
		status          int
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
		"fetch":                {request: h{"Sec-Fetch-Dest": "empty"}},
		"an image":             {request: h{"Sec-Fetch-Dest": "image"}},
		"htmx":                 {request: h{"HX-Request": "true"}},
		"a turbo frame":        {request: h{"Turbo-Frame": "x"}},
		"a turbo stream":       {request: h{"Accept": "text/vnd.turbo-stream.html, text/html"}},
		"jQuery":               {request: h{"X-Requested-With": "XMLHttpRequest"}},
		"a policy of nothing":  {answer: h{"Content-Security-Policy": "default-src 'none'"}},
		"a policy of hashes":   {answer: h{"Content-Security-Policy": "script-src 'sha256-x'"}},
		"a sandbox of scripts": {answer: h{"Content-Security-Policy": "sandbox allow-forms"}},
	} {
		srv := serve(t, l.door("/", func(w http.ResponseWriter, r *http.Request) {
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
		req, _ := http.NewRequest("GET", srv.URL, nil)
		for k, v := range c.request {
			req.Header.Set(k, v)
		}
		resp, err := srv.Client().Do(req)
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
		srv := serve(t, newLive(t, root).door("/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			flush, to := http.NewResponseController(w).Flush, io.Writer(w)
			if coding != "" {
				w.Header().Set("Content-Encoding", coding)
				z := gzip.NewWriter(w)
				defer z.Close()
				to, flush = z, func() error { z.Flush(); return http.NewResponseController(w).Flush() }
			}
			io.WriteString(to, "<body>first")
			flush()
			<-more
			io.WriteString(to, " second</body>")
		}))
		resp, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		start := make([]byte, len("<body>first"))
		if _, err := io.ReadFull(resp.Body, start); err != nil || string(start) != "<body>first" {
			t.Errorf("%q: %q, %v", coding, start, err)
		}
		close(more)
		rest, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || tagged.ReplaceAllString(string(rest), "TAG") != " secondTAG</body>" {
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
		"no such coding": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "zstd")
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
		srv := serve(t, newLive(t, root).door("/", func(w http.ResponseWriter, r *http.Request) {
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
	l := New(state.NewStore(state.Server{Development: true}))
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
