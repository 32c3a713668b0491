package proxy

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"tqserver/internal/balance"
	"tqserver/internal/message"
	"tqserver/internal/recovered"
	"tqserver/internal/upstream"
	"tqserver/internal/wire"
)

// relaying is the worker's side of an exchange: the attempts to send the request, and
// the response that comes.
type relaying struct {
	x *exchange // that it is part of

	hooks  upstream.Hooks   // of each attempt; bound once, as cancel is, so that a request allocates nothing
	cancel func()           // ends the attempt
	fields []upstream.Field // room for those of the request

	backend   *Backend // claimed, or nil
	claimed   time.Time
	attempt   upstream.Exchange
	protocols []string // that the client would switch to
	body      responseBody
	stream    bool // the rest of the response has no end of its own
	upgraded  *upgradedConn
}

func (r *relaying) init(x *exchange) {
	r.x = x
	r.hooks = upstream.Hooks{Sent: x.wait.leaveQueue, Interim: r.interim, Blocked: x.in.flush}
	r.cancel = r.attempt.Cancel
}

// maxFields is how many fields an exchange keeps room for.
const maxFields = 64

func (r *relaying) reset() {
	fields := r.fields
	clear(fields)
	if cap(fields) > maxFields {
		fields = nil
	}
	*r = relaying{x: r.x, hooks: r.hooks, cancel: r.cancel, fields: fields}
}

// forward sends the request to the backend that was claimed, and passes its response
// on.
func (r *relaying) forward() {
	r.prepare()
	wire.OnDisconnect(r.x.in.Request, r.cancel)
	resp, err := r.send()
	if err != nil {
		recovered.Rethrow(err) // it came while the body was sent
		r.x.fail(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		if err := r.switchProtocols(resp); err != nil {
			r.x.fail(err)
		}
		return
	}
	r.prepareResponse(resp)
	if err := r.writeResponse(resp); err != nil {
		r.x.in.flush()              // or a browser that has seen nothing would send the request again
		panic(http.ErrAbortHandler) // cut short for the client too
	}
}

// prepare makes the request that the worker gets.
func (r *relaying) prepare() {
	client := &r.x.in
	in, out := client.Request, &r.attempt
	if r.protocols = upgradeOf(in.Header); client.http10 || includesHTTP2(r.protocols) {
		r.protocols = nil
	}
	out.Method, out.Host = in.Method, in.Host
	out.Target = in.RequestURI               // byte for byte
	if !strings.HasPrefix(out.Target, "/") { // http://host
		out.Target = in.URL.RequestURI()
	}
	r.fields = client.appendRequestFields(r.fields[:0], r.protocols)
	out.Hooks, out.Fields = r.hooks, r.fields
	if client.expects && !message.HasToken(in.Header["Connection"], "expect") {
		out.ContinueAfter = continueAfter
	}
	if client.body != nil {
		out.Body, out.Length, out.Trailer = client.body, in.ContentLength, client.body.trailers()
	}
}

// appendRequestFields appends the header that the worker gets: what the client said of
// the request but not of the connection, and what only we know. The fields are sorted,
// so that the same request is the same bytes.
func (in *inbound) appendRequestFields(fields []upstream.Field, protocols []string) []upstream.Field {
	header := in.Request.Header
	named := message.NamedByConnection(header)
	for name, values := range header {
		switch {
		case in.replaces(name):
			continue
		case aboutClient(name): // even if Connection names it (golang.org/issue/50580)
			if !in.trusted {
				continue
			}
		case message.IsHopByHop(name), named[name], name == "Http2-Settings" && protocols == nil:
			continue
		}
		for _, value := range values {
			if name == "Cookie" && strings.Contains(value, balance.CookieName) {
				if value = balance.StripCookie(value); value == "" {
					continue
				}
			}
			fields = append(fields, upstream.Field{Name: name, Value: value})
		}
	}
	connection := ""
	if protocols != nil {
		connection = "Upgrade"
		fields = append(fields, upstream.Field{Name: "Upgrade", Value: strings.Join(protocols, ", ")})
	}
	if message.HasToken(header["Te"], "trailers") {
		connection = join(connection, "TE") // RFC 9110 section 10.1.4
		fields = append(fields, upstream.Field{Name: "Te", Value: "trailers"})
	}
	if connection != "" {
		fields = append(fields, upstream.Field{Name: "Connection", Value: connection})
	}
	fields = in.appendFields(in.Request, fields)
	slices.SortStableFunc(fields, func(a, b upstream.Field) int { return strings.Compare(a.Name, b.Name) })
	return fields
}

// join appends a member to a list.
func join(list, member string) string {
	if list == "" {
		return member
	}
	return list + ", " + member
}

// maxBodyStart is how many bytes of a body at most the worker gets with the header.
const maxBodyStart = 16 << 10

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// send sends the request, together with what has come of its body.
func (r *relaying) send() (*http.Response, error) {
	body := r.x.in.body
	if !body.canPrefetch() {
		return r.roundTrip()
	}
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	n, err := body.prefetch(buf[:maxBodyStart])
	if err != nil {
		return nil, err
	}
	r.attempt.BodyStart = buf[:n]
	return r.roundTrip()
}

// interim passes a response of 1xx on.
func (r *relaying) interim(status int, fields http.Header) {
	r.x.stall.moved()
	in := &r.x.in
	if in.http10 { // RFC 9110 section 15.2
		return
	}
	message.RemoveHopByHop(fields)
	h := in.w.Header()
	maps.Copy(h, fields)
	in.w.WriteHeader(status)
	clear(h) // which the server does not do after a 1xx
}

// release gives the backend back.
func (r *relaying) release() {
	if r.backend == nil {
		return
	}
	if r.stream {
		r.backend.removeStream(r.x)
	}
	r.x.wait.route.ended(r.backend, &r.x.wait.attempts)
	r.backend.release()
	r.backend = nil
}
