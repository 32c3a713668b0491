package proxy

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"tqserver/internal/message"
	"tqserver/internal/upstream"
)

// prepareResponse prepares the header of the worker's response for the client.
func (r *relaying) prepareResponse(resp *http.Response) {
	x, h := r.x, resp.Header
	required := h["Upgrade"]
	message.RemoveHopByHop(h)
	if resp.StatusCode == http.StatusUpgradeRequired && len(required) > 0 {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, required // it must say which (RFC 9110 section 15.5.22)
	}
	x.in.setFields(h)
	if cookie := x.wait.attempts.SetCookie; cookie != "" {
		h.Add("Set-Cookie", cookie)
	}
	if x.develop != nil {
		x.setOrigin(h)
	}
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	r.body = responseBody{ReadCloser: resp.Body, x: x}
	resp.Body = &r.body
	r.startResponse(resp.StatusCode, strings.EqualFold(strings.TrimSpace(media), "text/event-stream"))
}

// prepareUpgrade prepares the header of the response after which the worker's
// connection speaks another protocol.
func (r *relaying) prepareUpgrade(resp *http.Response, protocols []string) {
	x, h := r.x, resp.Header
	message.RemoveHopByHop(h)
	delete(h, "Content-Length") // RFC 9110 section 8.6
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{strings.Join(protocols, ", ")}
	x.in.setFields(h)
	if cookie := x.wait.attempts.SetCookie; cookie != "" {
		h.Add("Set-Cookie", cookie)
	}
	if x.develop != nil {
		x.setOrigin(h)
	}
	r.upgraded = &upgradedConn{Duplex: resp.Body.(*upstream.Duplex), x: x}
	if strings.EqualFold(h.Get("Upgrade"), "websocket") {
		r.upgraded.frames = new(frames)
	}
	x.wait.route.traffic.upgraded.Add(1)
	r.startResponse(resp.StatusCode, true)
}

// startResponse notes that the response begins, and whether it is a stream.
func (r *relaying) startResponse(status int, stream bool) {
	x := r.x
	r.stream = stream
	x.respond(status)
	x.settle(endOf(status, false))
	if stream {
		x.wait.attempts.end = goodEnd // so far
		x.wait.route.ended(r.backend, &x.wait.attempts)
		r.backend.addStream(x)
	}
}

// writeResponse passes the worker's response on. Whatever the worker has sent goes to
// the client before more of it is awaited.
func (r *relaying) writeResponse(resp *http.Response) error {
	in := &r.x.in
	h := in.responseHeader(resp.Header)
	if len(resp.Trailer) > 0 {
		h.Add("Trailer", strings.Join(slices.Sorted(maps.Keys(resp.Trailer)), ", "))
	}
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // none is guessed then
	}
	if resp.ContentLength < 0 && in.Request.Method != http.MethodHead {
		h["Transfer-Encoding"] = []string{"chunked"} // or a short body would be given a length
	}
	in.w.WriteHeader(resp.StatusCode)
	in.unflushed = true
	if err := in.copyBody(resp.Body); err != nil {
		return err
	}
	if len(resp.Trailer) == 0 {
		return nil
	}
	in.flush() // or a short body would have a length, and no trailer
	for name, values := range resp.Trailer {
		delete(h, name) // a field of the header, which was sent, is not of the trailer
		h[http.TrailerPrefix+name] = values
	}
	return nil
}

func (in *inbound) copyBody(body io.Reader) error {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := body.Read(buf[:])
		if n > 0 {
			in.unflushed = true
			if _, err := in.w.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// responseBody is the body of a worker's response on its way to the client.
type responseBody struct {
	io.ReadCloser
	x    *exchange
	read bool // something was
}

func (b *responseBody) Read(p []byte) (int, error) {
	if b.read {
		b.x.stall.moved() // what was read before was written
	}
	b.read = true
	n, err := b.ReadCloser.Read(p)
	b.x.stall.moved()
	switch err {
	case nil:
	case io.EOF:
		b.x.wait.attempts.end = goodEnd
	default:
		b.x.wait.attempts.end = b.x.endAfter(err)
	}
	if err != nil && err != io.EOF && b.x.endedByUs() {
		err = io.EOF // the stream ends as if the page had ended it
	}
	return n, err
}
