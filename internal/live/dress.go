package live

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tqserver/internal/recovered"
)

// Dress inserts the script into the response to a request for a document. It removes
// the conditions of the request, which are about the document in the tab, not about
// what the page writes. It is for proxy.Development.
func (l *Live) Dress(w http.ResponseWriter, r *http.Request, route string) (http.ResponseWriter, func(whole bool)) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		for _, name := range conditions {
			r.Header.Del(name)
		}
	}
	d := &dressed{ResponseWriter: w, live: l, request: r, route: route}
	p, _ := l.page(route)
	d.face, d.build, d.assets = p.face, p.ServingBuild, p.AssetChanges
	return d, d.finish
}

// conditions are the fields of a request that refer to a representation which the
// client has (RFC 9110 sections 13.1 and 14.2).
var conditions = []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range"}

// ofRepresentation are the fields of a response that hold only for the bytes that the
// page wrote (RFC 9110 sections 8.8 and 14.3, RFC 9530, RFC 3230, RFC 1864).
var ofRepresentation = []string{"Etag", "Last-Modified", "Accept-Ranges", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"}

// dressed is a response on its way to a tab. If it may be a document, its header
// waits for the beginning of the body, which shows whether it is one.
type dressed struct {
	http.ResponseWriter
	live    *Live
	request *http.Request
	route   string
	face    string // of the page when the request came
	build   int    // that served then
	assets  int    // changes of its files by then

	begun  bool
	status int       // of the response while its header waits, or 0
	tagged tagWriter // inserts the tag; its tag is empty if the document gets none
	coding string    // that the header names, until the body shows whether it is true
	first  []byte    // the beginning of such a body
	probed int       // how much of it did not show that

	encoded *io.PipeWriter // takes a body that must be decoded, or nil
	decoded chan error     // receives the result of decoding
}

// Unwrap is for [http.ResponseController].
func (d *dressed) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// WriteHeader decides whether the response may get a tag.
func (d *dressed) WriteHeader(status int) {
	if d.begun || status < 200 && status != http.StatusSwitchingProtocols {
		d.ResponseWriter.WriteHeader(status)
		return
	}
	d.begun, d.status = true, status
	if !d.takesTag(status) {
		d.sendHeader(false)
		return
	}
	via, nonce := parsePolicies(d.Header()).allowedChannel(d.request.Host)
	if via == noChannel {
		d.live.warnUnreloadable(d.route, d.Header().Get("Content-Security-Policy"))
		d.sendHeader(false)
		return
	}
	d.tagged = tagWriter{w: d.ResponseWriter, tag: d.tag(via, nonce), begin: d.sendHeader}
	if d.request.Method == http.MethodHead {
		d.sendHeader(true)
		d.tagged.tag = ""
		return
	}
	d.coding = coding(d.Header())
}

// takesTag reports whether the response is a whole HTML document that the server may
// change.
func (d *dressed) takesTag(status int) bool {
	h := d.Header()
	switch {
	case !isHTML(h.Get("Content-Type")):
		return false
	case status < 200, status == http.StatusNoContent, status == http.StatusResetContent, status == http.StatusPartialContent, status == http.StatusNotModified:
		return false
	case status >= 300 && status < 400 && h.Get("Location") != "": // nobody sees it
		return false
	case strings.HasPrefix(strings.ToLower(h.Get("Content-Disposition")), "attachment"):
		return false
	case strings.Contains(strings.ToLower(strings.Join(h["Cache-Control"], ",")), "no-transform"): // RFC 9111 section 5.2.2.6
		return false
	}
	_, known := decoders[coding(h)]
	return known
}

// isHTML reports whether a media type is HTML in a charset that contains ASCII.
func isHTML(contentType string) bool {
	if contentType == "text/html; charset=utf-8" { // as nearly all are
		return true
	}
	media, params, err := mime.ParseMediaType(contentType)
	charset := strings.ToLower(params["charset"])
	return err == nil && media == "text/html" && !strings.HasPrefix(charset, "utf-16") && !strings.HasPrefix(charset, "utf-32")
}

// sendHeader sends the header, changed for a document that gets the tag.
func (d *dressed) sendHeader(tagged bool) {
	if !tagged {
		d.tagged.tag = ""
	} else {
		h := d.Header()
		d.removeValidators()
		if decoders[coding(h)] != nil {
			h.Del("Content-Length")
			h.Del("Content-Encoding")
		} else if length, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil {
			h.Set("Content-Length", strconv.FormatInt(length+int64(len(d.tagged.tag)), 10))
		}
	}
	status := d.status
	d.status = 0
	d.ResponseWriter.WriteHeader(status)
}

// removeValidators removes the fields that do not hold with the tag.
func (d *dressed) removeValidators() {
	h := d.Header()
	for _, name := range ofRepresentation {
		delete(h, name)
		delete(h, http.TrailerPrefix+name)
	}
	if h["Trailer"] == nil {
		return
	}
	names := strings.Split(strings.Join(h["Trailer"], ","), ",")
	names = slices.DeleteFunc(names, func(name string) bool {
		return slices.Contains(ofRepresentation, http.CanonicalHeaderKey(strings.TrimSpace(name)))
	})
	h.Set("Trailer", strings.Join(names, ","))
	if len(names) == 0 {
		h.Del("Trailer")
	}
}

func (d *dressed) Write(p []byte) (int, error) {
	if !d.begun {
		d.WriteHeader(http.StatusOK)
	}
	switch {
	case d.encoded != nil:
		return d.encoded.Write(p)
	case d.coding != "":
		d.first = append(d.first, p...)
		if len(d.first) < 2*d.probed && len(d.first) < maxCoded {
			return len(p), nil
		}
		return len(p), d.probe(false)
	case d.tagged.tag != "":
		return len(p), d.tagged.write(p, final)
	}
	return d.ResponseWriter.Write(p)
}

// maxCoded is how many bytes of a coded body are kept until some can be decoded.
const maxCoded = 512 << 10

// probe checks whether a body is in the coding that its header names. If it is, probe
// starts to decode it, or else passes it on as it is.
func (d *dressed) probe(over bool) error {
	is, known := isCoded(d.coding, d.first)
	if !known && !over && len(d.first) < maxCoded {
		d.probed = len(d.first)
		return nil
	}
	first, decode := d.first, decoders[d.coding]
	d.first, d.coding = nil, ""
	if !is {
		d.sendHeader(false)
		_, err := d.ResponseWriter.Write(first)
		return err
	}
	d.tagged.flush, d.tagged.begin = d.Header().Get("Content-Length") == "", nil // without a length it is a stream
	d.sendHeader(true)
	d.startDecoding(decode)
	_, err := d.encoded.Write(first)
	return err
}

// ReadFrom lets the kernel send what follows the tag.
func (d *dressed) ReadFrom(r io.Reader) (int64, error) {
	if !d.begun {
		d.WriteHeader(http.StatusOK)
	}
	if d.tagged.tag == "" || d.encoded == nil && d.coding == "" && d.tagged.done {
		return io.Copy(d.ResponseWriter, r)
	}
	return io.Copy(struct{ io.Writer }{d}, r)
}

// FlushError sends what was written, with the tag if its place is known. It sends
// nothing of a body that is being decoded or has not begun.
func (d *dressed) FlushError() error {
	if !d.begun {
		d.WriteHeader(http.StatusOK)
	}
	switch {
	case d.encoded != nil:
		return nil
	case d.coding != "":
		if len(d.first) == 0 {
			return nil
		}
		return d.probe(false)
	case d.tagged.tag != "":
		if err := d.tagged.write(nil, usable); err != nil || d.status != 0 {
			return err
		}
	}
	return http.NewResponseController(d.ResponseWriter).Flush()
}

// finish ends the response. One that cannot be decoded is cut short for the client.
func (d *dressed) finish(whole bool) {
	if !whole { // what came reaches the client
		defer http.NewResponseController(d.ResponseWriter).Flush()
	}
	if d.coding != "" {
		d.probe(true)
	}
	if d.encoded != nil {
		if whole {
			d.encoded.Close()
		} else {
			d.encoded.CloseWithError(errCut)
		}
		err := <-d.decoded
		recovered.Rethrow(err)
		if err != nil && whole {
			panic(http.ErrAbortHandler)
		}
	}
	if d.tagged.tag != "" {
		d.tagged.write(nil, vague)
		d.removeValidators() // of the trailer
	}
}

var errCut = errors.New("the response was cut short")

// startDecoding starts a goroutine that decodes the body.
func (d *dressed) startDecoding(decode func(io.Reader) (io.ReadCloser, error)) {
	from, to := io.Pipe()
	d.encoded, d.decoded = to, make(chan error, 1)
	go func() { // ends with the pipe, which finish closes
		err := recovered.Call(func() error {
			body, err := decode(from)
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.Copy(&d.tagged, struct{ io.Reader }{body})
			return err
		})
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
