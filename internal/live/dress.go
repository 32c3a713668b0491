package live

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// Dress puts the script into an HTML answer that a tab shows. It is for
// proxy.Development.
func (l *Live) Dress(w http.ResponseWriter, r *http.Request, route string) (http.ResponseWriter, func(whole bool)) {
	if !shown(r) {
		return w, func(bool) {}
	}
	d := &dressed{ResponseWriter: w, live: l, request: r, route: route, put: put{w: w}}
	p, _ := l.page(route)
	d.face, d.build, d.assets = p.face, p.ServingOn, p.Assets
	return d, d.end
}

// shown reports whether the answer can become the document of a tab or a frame.
// Where the browser does not tell (it does so to secure origins, localhost among
// them), those are left out that libraries mark as fragments.
func shown(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "document", "iframe", "frame":
	case "":
		for _, name := range []string{"Hx-Request", "Turbo-Frame", "X-Requested-With", "X-Pjax", "X-Up-Version", "X-Fragment"} {
			if r.Header.Get(name) != "" {
				return false
			}
		}
	default:
		return false
	}
	return !strings.Contains(r.Header.Get("Accept"), "text/vnd.turbo-stream.html")
}

// tag is a tag with what it says.
type tag struct {
	label
	text string
}

// dressed is an answer on its way to a tab.
type dressed struct {
	http.ResponseWriter
	live    *Live
	request *http.Request
	route   string
	begun   bool
	face    string // of the page when it was asked for
	build   int    // that it was, and its assets
	assets  int
	put     put // where a tag is put; its tag is empty if none is

	encoded *io.PipeWriter // takes a body that must be decoded, or nil
	decoded chan error     // gets how that ended
}

// Unwrap is for [http.ResponseController].
func (d *dressed) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// WriteHeader decides whether the answer gets a tag.
func (d *dressed) WriteHeader(status int) {
	if !d.begun && (status >= 200 || status == http.StatusSwitchingProtocols) {
		d.begun = true
		if d.takesTag(status) {
			d.prepare()
		}
	}
	d.ResponseWriter.WriteHeader(status)
}

// takesTag reports whether the answer is a whole HTML document that may be
// changed.
func (d *dressed) takesTag(status int) bool {
	h := d.Header()
	switch {
	case !isHTML(h.Get("Content-Type")):
		return false
	case status < 200, status == http.StatusNoContent, status == http.StatusPartialContent, status == http.StatusNotModified:
		return false
	case strings.HasPrefix(strings.ToLower(h.Get("Content-Disposition")), "attachment"):
		return false
	case strings.Contains(strings.ToLower(strings.Join(h["Cache-Control"], ",")), "no-transform"): // RFC 9111 section 5.2.2.6
		return false
	}
	_, known := decoders[coding(h)]
	return known
}

// prepare makes the tag and changes the header.
func (d *dressed) prepare() {
	h := d.Header()
	way, nonce := parsePolicies(h).judge(d.request.Host)
	if way == noWay {
		d.live.leaveAlone(d.route, h.Get("Content-Security-Policy"))
		return
	}
	tag := d.tag(way, nonce)
	for _, name := range []string{"Accept-Ranges", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		h.Del(name) // they are of what the page wrote
	}
	length, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	decode := decoders[coding(h)]
	switch {
	case decode != nil:
		h.Del("Content-Length")
		h.Del("Content-Encoding")
	case err == nil:
		h.Set("Content-Length", strconv.FormatInt(length+int64(len(tag)), 10))
	}
	if d.request.Method == http.MethodHead {
		return
	}
	d.put.tag = tag
	if decode == nil && err == nil {
		d.put.left = length
	}
	if decode != nil {
		d.put.flush = err != nil // a stream
		d.startDecoding(decode)
	}
}

// isHTML reports whether a type is that of HTML in a charset that has ASCII in it.
func isHTML(contentType string) bool {
	if contentType == "text/html; charset=utf-8" { // as nearly all are
		return true
	}
	media, params, err := mime.ParseMediaType(contentType)
	charset := strings.ToLower(params["charset"])
	return err == nil && media == "text/html" && !strings.HasPrefix(charset, "utf-16") && !strings.HasPrefix(charset, "utf-32")
}

// label is what a tag says.
type label struct {
	face   string
	way    way
	method string
	nonce  string
}

// tag is what is put into the document.
func (d *dressed) tag(way way, nonce string) string {
	is := label{d.face, way, d.request.Method, nonce}
	if build, _, _ := strings.Cut(d.Header().Get("X-Tq-Build"), ";"); build != "" {
		if build != strconv.Itoa(d.build) {
			is.face = d.live.served(build, d.assets)
		}
	} else if p, ok := d.live.page(d.route); ok && p.ServingOn == 0 {
		is.face = p.face // the answer says how the page is
	}
	return d.live.tag(d.route, is)
}

// tag makes a tag, or finds the last one of the page to say the same.
func (l *Live) tag(route string, is label) string {
	l.mu.Lock()
	last, ok := l.tags[route]
	l.mu.Unlock()
	if ok && last.label == is {
		return last.text
	}
	attributes := ""
	for _, a := range [][2]string{{"data-page", route}, {"data-face", is.face}, {"data-way", string(is.way)}, {"data-method", is.method}, {"nonce", is.nonce}} {
		if a[1] != "" {
			attributes += fmt.Sprintf(` %s="%s"`, a[0], html.EscapeString(a[1]))
		}
	}
	text := fmt.Sprintf(`<script async src="%s%s"%s></script>`, Reserved, scriptName, attributes)
	l.mu.Lock()
	l.tags[route] = tag{is, text}
	l.mu.Unlock()
	return text
}

// leaveAlone says, once a page, that it cannot be reloaded by itself.
func (l *Live) leaveAlone(route, policy string) {
	l.mu.Lock()
	told := l.refused[route]
	l.refused[route] = true
	l.mu.Unlock()
	if !told {
		l.warn("the browser is not reloaded by itself: the page's Content-Security-Policy forbids it", slog.String("page", route), slog.String("policy", printable(policy)))
	}
}

func (d *dressed) Write(p []byte) (int, error) {
	if !d.begun {
		d.WriteHeader(http.StatusOK)
	}
	switch {
	case d.encoded != nil:
		return d.encoded.Write(p)
	case d.put.tag != "":
		return d.put.Write(p)
	}
	return d.ResponseWriter.Write(p)
}

// ReadFrom lets the kernel send files that get no tag.
func (d *dressed) ReadFrom(r io.Reader) (int64, error) {
	if !d.begun {
		d.WriteHeader(http.StatusOK)
	}
	if d.put.tag == "" {
		return io.Copy(d.ResponseWriter, r)
	}
	return io.Copy(struct{ io.Writer }{d}, r)
}

// FlushError sends what there is. What is being decoded is sent as it comes out.
func (d *dressed) FlushError() error {
	if d.encoded != nil {
		return nil
	}
	d.begun = true
	return http.NewResponseController(d.ResponseWriter).Flush()
}

// end ends the answer. One that cannot be decoded is cut short for the client.
func (d *dressed) end(whole bool) {
	if d.encoded != nil {
		if whole {
			d.encoded.Close()
		} else {
			d.encoded.CloseWithError(errCut)
		}
		if err := <-d.decoded; err != nil && whole {
			panic(http.ErrAbortHandler)
		}
	}
	if whole {
		d.put.finish()
	}
}

var errCut = errors.New("the answer was cut short")

// startDecoding begins to decode the body.
func (d *dressed) startDecoding(decode func(io.Reader) (io.ReadCloser, error)) {
	from, to := io.Pipe()
	d.encoded, d.decoded = to, make(chan error, 1)
	go func() { // ends with the pipe, which end closes
		err := func() error {
			body, err := decode(from)
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.Copy(&d.put, struct{ io.Reader }{body})
			return err
		}()
		if err == io.EOF { // before anything came: an empty body
			err = nil
		}
		if err == nil {
			io.Copy(io.Discard, from)
		}
		from.CloseWithError(err)
		d.decoded <- err
	}()
}

// put puts a tag before the end of the document that is written to it.
type put struct {
	w     io.Writer
	tag   string
	left  int64  // bytes of the document that are still to come, if that is known, or 0
	flush bool   // after each write
	held  []byte // what may be the end of the document
}

// joined are buffers in which the last piece of a document gets its tag, so that
// it is sent at once.
var joined = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (p *put) Write(b []byte) (int, error) {
	all := b
	switch {
	case len(p.held) == 0:
	case len(b) >= maxTail: // what was held is not the end
		if _, err := p.w.Write(p.held); err != nil {
			return 0, err
		}
		p.held = nil
	default:
		all = append(p.held, b...)
	}
	at := closing(all)
	if p.left > 0 {
		p.left -= int64(len(b))
		if p.left == 0 {
			return len(b), p.last(all, at)
		}
	}
	if at > 0 {
		if _, err := p.w.Write(all[:at]); err != nil {
			return 0, err
		}
	}
	p.held = append([]byte(nil), all[at:]...)
	if p.flush {
		http.NewResponseController(p.w.(http.ResponseWriter)).Flush()
	}
	return len(b), nil
}

// finish writes what was held, and the tag, if that was not done.
func (p *put) finish() {
	if p.tag != "" {
		p.last(p.held, 0)
	}
}

// last writes the last piece of a document whose end begins at a place.
func (p *put) last(piece []byte, at int) error {
	if bytes.IndexByte(piece[at:], '>') < 0 { // the tag that closes the body is not whole
		at = len(piece)
	}
	b := joined.Get().(*bytes.Buffer)
	defer joined.Put(b)
	b.Reset()
	b.Write(piece[:at])
	b.WriteString(p.tag)
	b.Write(piece[at:])
	p.tag, p.held = "", nil
	_, err := p.w.Write(b.Bytes())
	return err
}

// decoders are those of the codings that browsers know. That of no coding is
// nil.
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

// coding is the one of a body (RFC 9110 section 8.4).
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
