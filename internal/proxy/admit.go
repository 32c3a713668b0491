package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"tqserver/internal/policy"
	"tqserver/internal/wire"
)

// allowMethods names the methods that pages may answer. It is not modified.
var allowMethods = http.Header{"Allow": {"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"}}

// admit gives a request the form in which everything else decides on it and the worker
// gets it, or returns why it must not go on.
func (in *inbound) admit() *policy.Refusal {
	r := in.Request
	if bad := wire.RefusalOf(r); bad != nil {
		return refuseMalformed(r, bad)
	}
	if r.RequestURI == "*" {
		return &policy.Refusal{Status: http.StatusOK, Title: "This is tqserver", Header: allowMethods}
	}
	if (r.Method == http.MethodOptions || r.Method == http.MethodTrace) && useHop(r.Header) {
		if r.Method == http.MethodTrace {
			return &policy.Refusal{Status: http.StatusMethodNotAllowed, Title: "Method not allowed", Detail: "This server does not support TRACE.", Header: allowMethods}
		}
		return &policy.Refusal{Status: http.StatusOK, Title: "This is tqserver", Header: allowMethods}
	}
	dropUnderscores(r.Header)
	if refusal := checkPath(r); refusal != nil {
		return refusal
	}
	in.Document = isForDocument(r.Header)
	return nil
}

// refuseMalformed returns the refusal of a request that could not be parsed, and fills r,
// which stands for it, with what is known of it.
func refuseMalformed(r *http.Request, bad *wire.Refusal) *policy.Refusal {
	r.Method, r.RequestURI, r.Proto, r.Host = bad.Method, bad.Target, bad.Proto, ""
	if bad.Accept != "" {
		r.Header.Set("Accept", bad.Accept)
	}
	header := http.Header{"Connection": {"close"}}
	if bad.Status == http.StatusMethodNotAllowed {
		header["Allow"] = allowMethods["Allow"]
	}
	return &policy.Refusal{Status: bad.Status, Title: http.StatusText(bad.Status), Detail: bad.Reason, Header: header}
}

// checkPath returns nil if the path of a request has no dot segments. Otherwise it
// returns a redirect to the path without them, or a refusal.
func checkPath(r *http.Request) *policy.Refusal {
	if r.URL.Path == "" { // http://host
		r.URL.Path = "/"
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if r.URL.Host != "" {
		path = r.URL.EscapedPath()
	}
	switch resolved, ok := removeDots(path); {
	case ok && resolved == path:
		return nil
	case ok && !strings.HasPrefix(resolved, "//") && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		if r.URL.RawQuery != "" || r.URL.ForceQuery {
			resolved += "?" + r.URL.RawQuery
		}
		return &policy.Refusal{Status: http.StatusPermanentRedirect, Title: "Permanent redirect", Detail: resolved, Header: http.Header{"Location": {ascii(resolved)}}}
	}
	return &policy.Refusal{Status: http.StatusBadRequest, Title: "Bad request", Detail: "The path contains . or .. as a segment."}
}

// useHop takes one from Max-Forwards, and reports whether it was 0 already: then the
// request is for the server itself (RFC 9110 section 7.6.2).
func useHop(h http.Header) (last bool) {
	if len(h["Max-Forwards"]) != 1 {
		return false
	}
	const bits = 31
	left, err := strconv.ParseUint(h.Get("Max-Forwards"), 10, bits)
	switch {
	case err == nil && left == 0:
		return true
	case err == nil:
		left--
	case errors.Is(err, strconv.ErrRange):
		left = 1<<bits - 1
	default:
		return false // it is no number
	}
	h.Set("Max-Forwards", strconv.FormatUint(left, 10))
	return false
}

// dropUnderscores removes fields with names that others take for those with a hyphen.
func dropUnderscores(h http.Header) {
	for name := range h {
		if strings.IndexByte(name, '_') >= 0 {
			delete(h, name)
		}
	}
}

// removeDots returns a path as it is sent, without its dot segments (RFC 3986
// section 5.2.4), however those are encoded. It is not ok if the path does not begin with
// a slash, or has segments that only some take for dot segments.
func removeDots(path string) (resolved string, ok bool) {
	if !strings.HasPrefix(path, "/") {
		return "", false
	}
	if !strings.ContainsAny(path, ".%\\") {
		return path, true
	}
	segments := strings.Split(path[1:], "/")
	kept := make([]string, 0, len(segments))
	for i, segment := range segments {
		plain := segment
		if strings.IndexByte(plain, '%') >= 0 {
			plain = decodeDots(plain)
		}
		switch {
		case plain == ".":
		case plain == "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			for hidden := range strings.FieldsFuncSeq(plain, func(c rune) bool { return c == '/' || c == '\\' }) {
				if plain != hidden && (hidden == "." || hidden == "..") {
					return "", false
				}
			}
			kept = append(kept, segment)
			continue
		}
		if i == len(segments)-1 {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/"), true
}

// decodeDots decodes what may be part of a dot segment.
var decodeDots = strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", "\\", "%5C", "\\").Replace

// ascii encodes the bytes of a path that are not allowed in a header field.
func ascii(path string) string {
	var b strings.Builder
	for i := range len(path) {
		if c := path[i]; c < 0x80 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
