package proxy

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"tqserver/internal/message"
	"tqserver/internal/recovered"
	"tqserver/internal/upstream"
	"tqserver/internal/wire"
)

// forward sends a request to the backend that it has, and hands on the answer.
func (x *exchange) forward() {
	x.prepare()
	wire.OnDisconnect(x.view.Request, x.cutNow)
	resp, err := x.send()
	if err != nil {
		recovered.Rethrow(err) // it came while the body was sent
		x.fail(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		if err := x.switchProtocols(resp); err != nil {
			x.fail(err)
		}
		return
	}
	x.beginResponse(resp)
	if err := x.writeResponse(resp); err != nil {
		x.flush()                   // or a browser that has seen nothing would send the request again
		panic(http.ErrAbortHandler) // cut short for the client too
	}
}

// maxFirst is how many bytes of a body at most the worker gets with the header.
const maxFirst = 16 << 10

// send sends a request, together with what has come of its body.
func (x *exchange) send() (*http.Response, error) {
	if !x.body.canPrefetch() {
		return x.roundTrip()
	}
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	n, err := x.body.prefetch(buf[:maxFirst])
	if err != nil {
		return nil, err
	}
	x.attempt.BodyStart = buf[:n]
	return x.roundTrip()
}

// prepare makes the request that the worker sees.
func (x *exchange) prepare() {
	in, out := x.view.Request, &x.attempt
	if x.protocols = upgradeOf(in.Header); x.http10 || includesHTTP2(x.protocols) {
		x.protocols = nil
	}
	out.Method, out.Host = in.Method, in.Host
	out.Target = in.RequestURI               // byte for byte
	if !strings.HasPrefix(out.Target, "/") { // http://host
		out.Target = in.URL.RequestURI()
	}
	out.Hooks, out.Fields = x.hooks, x.fields()
	if x.expects && !message.HasToken(in.Header["Connection"], "expect") {
		out.ContinueAfter = continueAfter
	}
	if x.body != nil {
		out.Body, out.Length, out.Trailer = x.body, in.ContentLength, x.body.trailers()
	}
}

// fields returns what the worker is told in the header: what the client said of
// the request but not of the connection, and what only we know. They are sorted,
// so that the same request is the same bytes.
func (x *exchange) fields() []upstream.Field {
	in := x.view.Request.Header
	fields := x.fieldBuf[:0]
	named := message.NamedByConnection(in)
	for name, values := range in {
		switch {
		case x.replaces(name):
			continue
		case aboutClient(name): // whatever Connection says: it counts (golang.org/issue/50580)
			if !x.trusted {
				continue
			}
		case message.IsHopByHop(name), named[name], name == "Http2-Settings" && x.protocols == nil:
			continue
		}
		for _, value := range values {
			fields = append(fields, upstream.Field{Name: name, Value: value})
		}
	}
	connection := ""
	if x.protocols != nil {
		connection = "Upgrade"
		fields = append(fields, upstream.Field{Name: "Upgrade", Value: strings.Join(x.protocols, ", ")})
	}
	if message.HasToken(in["Te"], "trailers") {
		connection = join(connection, "TE") // RFC 9110 section 10.1.4
		fields = append(fields, upstream.Field{Name: "Te", Value: "trailers"})
	}
	if connection != "" {
		fields = append(fields, upstream.Field{Name: "Connection", Value: connection})
	}
	fields = x.appendFields(x.view.Request, fields)
	slices.SortStableFunc(fields, func(a, b upstream.Field) int { return strings.Compare(a.Name, b.Name) })
	x.fieldBuf = fields
	return fields
}

// interim hands on an answer of 1xx.
func (x *exchange) interim(status int, fields http.Header) {
	x.moved()
	if x.http10 { // RFC 9110 section 15.2
		return
	}
	message.RemoveHopByHop(fields)
	h := x.w.Header()
	maps.Copy(h, fields)
	x.w.WriteHeader(status)
	clear(h) // which the server does not do after a 1xx
}

// writeResponse writes the worker's answer. Whatever the worker has sent goes on to
// the client before more of it is waited for.
func (x *exchange) writeResponse(resp *http.Response) error {
	h := x.responseHeader(resp.Header)
	if len(resp.Trailer) > 0 {
		h.Add("Trailer", strings.Join(slices.Sorted(maps.Keys(resp.Trailer)), ", "))
	}
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // none is guessed then
	}
	if resp.ContentLength < 0 && x.view.Request.Method != http.MethodHead {
		h["Transfer-Encoding"] = []string{"chunked"} // or a short body would be given a length
	}
	x.w.WriteHeader(resp.StatusCode)
	x.unflushed = true
	if err := x.copyBody(resp); err != nil {
		return err
	}
	if len(resp.Trailer) == 0 {
		return nil
	}
	x.flush() // or a short body would have a length, and no trailer
	for name, values := range resp.Trailer {
		delete(h, name) // a field of the header, which was sent, is not of the trailer
		h[http.TrailerPrefix+name] = values
	}
	return nil
}

// responseHeader returns the header of an answer, with the fields of the worker's, which
// it may keep.
func (x *exchange) responseHeader(from http.Header) http.Header {
	client, ok := x.written.ResponseWriter.(interface{ UseHeader(http.Header) bool })
	if ok && x.w == http.ResponseWriter(&x.written) && client.UseHeader(from) {
		return from
	}
	to := x.w.Header()
	for name, values := range from {
		if old := to[name]; len(old) > 0 {
			values = append(old, values...)
		}
		to[name] = values
	}
	return to
}

// join appends a member to a list.
func join(list, member string) string {
	if list == "" {
		return member
	}
	return list + ", " + member
}

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (x *exchange) copyBody(resp *http.Response) error {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := resp.Body.Read(buf[:])
		if n > 0 {
			x.unflushed = true
			if _, err := x.w.Write(buf[:n]); err != nil {
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

// flush sends what was written.
func (x *exchange) flush() {
	if x.unflushed {
		x.unflushed = false
		http.NewResponseController(x.w).Flush()
	}
}

// flushCut sends what there is of an answer that is cut short. A browser that has
// seen nothing of an answer sends its request again, a POST too.
func (x *exchange) flushCut() {
	if x.written.status != 0 {
		x.written.FlushError()
	}
}
