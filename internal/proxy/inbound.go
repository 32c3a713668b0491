package proxy

import (
	"maps"
	"net/http"
	"net/netip"

	"tqserver/internal/policy"
)

// inbound is the client's side of an exchange: the request, who sent it, and where the
// response is written to.
type inbound struct {
	policy.Exchange // what gates and writers see
	identity        // does not change

	control   http.ResponseController // of the client's connection
	http10    bool                    // the client speaks HTTP/1.0
	expects   bool                    // the client waits for a 100
	body      *requestBody            // nil if there is none
	written   countedWriter
	w         http.ResponseWriter // &written, or a writer of the policy around it
	unflushed bool                // something was written to w that may not have been sent
}

func (in *inbound) open(w http.ResponseWriter, r *http.Request, trusted []netip.Prefix) {
	in.Request = r
	in.identity, in.Client = identify(r, trusted)
	if in.Header == nil {
		in.Header = make(http.Header)
	}
	in.Header["X-Request-Id"], in.Header["Traceparent"] = []string{in.id}, []string{in.traceparent}
	in.control = *http.NewResponseController(w)
	in.http10, in.expects = !r.ProtoAtLeast(1, 1), r.Header.Get("Expect") != ""
	in.written.ResponseWriter = w
	in.w = &in.written
}

func (in *inbound) reset() {
	header := in.Header
	clear(header)
	*in = inbound{}
	in.Header = header
}

// setFields sets what every response has in its header. If nobody will read what is
// left of the request's body, the client's connection is to end with the response.
func (in *inbound) setFields(h http.Header) {
	maps.Copy(h, in.Header)
	if in.body.pending() {
		h.Add("Connection", "close")
	}
}

// responseHeader returns the header of the response, with the fields of the worker's,
// which it may keep.
func (in *inbound) responseHeader(from http.Header) http.Header {
	client, ok := in.written.ResponseWriter.(interface{ UseHeader(http.Header) bool })
	if ok && in.w == http.ResponseWriter(&in.written) && client.UseHeader(from) {
		return from
	}
	to := in.w.Header()
	for name, values := range from {
		if old := to[name]; len(old) > 0 {
			values = append(old, values...)
		}
		to[name] = values
	}
	return to
}

// flush sends what was written.
func (in *inbound) flush() {
	if in.unflushed {
		in.unflushed = false
		http.NewResponseController(in.w).Flush()
	}
}

// flushCut sends what there is of a response that is cut short. A browser that has
// seen nothing of a response sends its request again, a POST too.
func (in *inbound) flushCut() {
	if in.written.status != 0 {
		in.written.FlushError()
	}
}
