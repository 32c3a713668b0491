package wire

import (
	"bytes"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"tqserver/internal/message"
)

// net/http does not read the header, because it accepts much that other programs
// read differently (several equal lengths, a length beside chunks, folded lines,
// lines that end in LF), removes what it ignored before a handler can see it, and
// adds fields that nobody sent (Cache-Control for Pragma). It would read every
// accepted header as the same request; a test compares the two.

// Refusal says why a request was refused. Method, Target, Proto and Accept are what
// could be read of the request.
type Refusal struct {
	Status int
	Reason string // a sentence for users
	Method string
	Target string
	Proto  string
	Accept string
}

func (r *Refusal) Error() string { return r.Reason }

// head is what a header says about the bytes that follow.
type head struct {
	fields  int
	length  int64 // of the body
	chunked bool
	upgrade bool // another protocol may follow the request
}

// endOfHead searches b for the empty line that ends a header. It starts at from;
// the bytes before were searched earlier. It returns the length of the header, or 0
// if a part is missing, and whether a line ends in a bare LF.
func endOfHead(b []byte, from int) (end int, bare bool) {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return 0, false
		}
		i += from
		switch {
		case i == 0 || b[i-1] != '\r':
			return 0, true
		case i >= 3 && b[i-2] == '\n':
			return i + 1, false
		}
		from = i + 1
	}
}

// parseHead parses a complete header, with its empty line.
func parseHead(b []byte) (head, *Refusal) {
	line, rest := message.CutLine(b)
	method, target, version := cutRequestLine(line)
	p := parser{method: method, target: target}
	p.checkRequestLine(version)
	for !p.isFinal() && len(rest) > 2 {
		line, rest = message.CutLine(rest)
		p.parseField(line)
	}
	if !p.isFinal() {
		p.checkFraming()
	}
	if p.refusal != nil {
		p.refusal.Method, p.refusal.Target, p.refusal.Proto = printable(method), printable(target), printable(version)
		p.refusal.Accept = acceptValue(b)
	}
	return p.head, p.refusal
}

func cutRequestLine(line []byte) (method, target, version []byte) {
	method, after, _ := bytes.Cut(line, []byte(" "))
	target, version, _ = bytes.Cut(after, []byte(" "))
	return method, target, version
}

// parser parses one header.
type parser struct {
	head
	method, target    []byte
	minor             byte // of HTTP/1.x
	hosts             int
	lengths           int
	encodings         int
	expects           int
	announced         int  // members of Trailer
	framingTrailer    bool // Trailer names a field that frames a message
	connectionUpgrade bool // Connection contains "upgrade"
	hasUpgrade        bool // Upgrade is present
	refusal           *Refusal
}

// refuse keeps the first refusal. That the message is not HTTP outweighs the
// others.
func (p *parser) refuse(status int, reason string) {
	if p.refusal == nil || status == http.StatusBadRequest && p.refusal.Status != status {
		p.refusal = &Refusal{Status: status, Reason: reason}
	}
}

// isFinal reports whether the refusal cannot change any more.
func (p *parser) isFinal() bool {
	return p.refusal != nil && p.refusal.Status == http.StatusBadRequest
}

func (p *parser) badRequest(reason string) { p.refuse(http.StatusBadRequest, reason) }

// checkRequestLine checks the request line (RFC 9112 section 3).
func (p *parser) checkRequestLine(version []byte) {
	switch {
	case !message.IsToken(p.method):
		p.badRequest("The request does not begin with a method.")
	case len(version) != 8 || !bytes.HasPrefix(version, []byte("HTTP/")) || version[6] != '.' || !message.IsDigit(version[5]) || !message.IsDigit(version[7]):
		p.badRequest("The first line of the request is not method, target and version.")
	case version[5] != '1':
		p.refuse(http.StatusHTTPVersionNotSupported, "This server supports only HTTP/1.0 and HTTP/1.1.")
	case string(p.method) == http.MethodConnect:
		p.refuse(http.StatusMethodNotAllowed, "This server does not support CONNECT.")
	}
	if p.refusal == nil {
		p.minor = min(version[7], '1') - '0'
		p.checkTarget()
	}
}

// checkTarget checks the request target (RFC 9112 section 3.2).
func (p *parser) checkTarget() {
	for _, c := range p.target {
		if c <= ' ' || c == 0x7f || c == '#' {
			p.badRequest("The request target contains a character that is not allowed.")
			return
		}
	}
	path := p.target
	switch {
	case bytes.HasPrefix(path, []byte("/")):
	case string(path) == "*" && string(p.method) == http.MethodOptions:
		return
	default:
		u, err := url.ParseRequestURI(string(path))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Host == "" || !isHost([]byte(u.Host)) {
			p.badRequest("The request target is neither a path nor an http URL.")
			return
		}
		path = path[len(u.Scheme)+len("://"):]
	}
	path, _, _ = bytes.Cut(path, []byte("?"))
	for len(path) > 0 {
		i := bytes.IndexByte(path, '%')
		if i < 0 {
			return
		}
		path = path[i:]
		if len(path) < 3 || !message.IsHex(path[1]) || !message.IsHex(path[2]) || path[1] == '0' && path[2] == '0' {
			p.badRequest("The request path contains an invalid percent-encoding.")
			return
		}
		path = path[3:]
	}
}

// parseField parses one line of the header.
func (p *parser) parseField(line []byte) {
	name, value, err := message.SplitField(line)
	if err != nil {
		p.badRequest(err.Error())
		return
	}
	if p.fields++; p.fields > message.MaxFields {
		p.refuse(http.StatusRequestHeaderFieldsTooLarge, message.TooManyFields.Error())
	}
	switch len(name) {
	case len("Host"):
		if isName(name, "host") {
			p.hosts++
			if !isHost(value) {
				p.badRequest("The Host is not a valid host name.")
			}
		}
	case len("Expect"):
		if isName(name, "expect") {
			p.expects++
			if p.expects > 1 || !isName(value, "100-continue") {
				p.refuse(http.StatusExpectationFailed, "The only supported expectation is 100-continue.")
			}
		}
	case len("Upgrade"): // and Trailer, which is as long
		p.hasUpgrade = p.hasUpgrade || isName(name, "upgrade")
		if isName(name, "trailer") {
			for announced := range bytes.SplitSeq(value, []byte(",")) {
				announced = bytes.Trim(announced, " \t")
				if p.announced++; p.announced > message.MaxFields {
					p.refuse(http.StatusRequestHeaderFieldsTooLarge, "The Trailer announces too many fields.")
				}
				p.framingTrailer = p.framingTrailer || isName(announced, "content-length") || isName(announced, "transfer-encoding") || isName(announced, "trailer")
			}
		}
	case len("Connection"):
		if isName(name, "connection") {
			for option := range bytes.SplitSeq(value, []byte(",")) {
				p.connectionUpgrade = p.connectionUpgrade || isName(bytes.Trim(option, " \t"), "upgrade")
			}
		}
	case len("Content-Length"):
		if isName(name, "content-length") {
			p.lengths++
			p.parseContentLength(value)
		}
	case len("Transfer-Encoding"):
		if isName(name, "transfer-encoding") {
			p.encodings++
			p.parseTransferEncoding(value)
		}
	}
}

func (p *parser) parseContentLength(value []byte) {
	n := int64(0)
	for _, c := range value {
		if !message.IsDigit(c) {
			n = -1
			break
		}
		n = 10*n + int64(c-'0')
	}
	if len(value) == 0 || len(value) > 18 || n < 0 {
		p.badRequest("The Content-Length is not a number.")
		return
	}
	p.length = n
}

// parseTransferEncoding accepts only chunked. A request must end in it, and nobody
// uses other codings before it (RFC 9112 section 6.1).
func (p *parser) parseTransferEncoding(value []byte) {
	switch {
	case isName(value, "chunked"):
		p.chunked = true
	case message.IsToken(value):
		p.refuse(http.StatusNotImplemented, "The only supported transfer coding is chunked.")
	default:
		p.badRequest("The Transfer-Encoding is not just chunked.")
	}
}

// checkFraming checks what the fields mean together (RFC 9112 sections 3.2 and 6).
func (p *parser) checkFraming() {
	switch {
	case p.hosts > 1:
		p.badRequest("The request has more than one Host.")
	case p.hosts == 0 && p.minor > 0:
		p.badRequest("The request has no Host.")
	case p.lengths > 1:
		p.badRequest("The request has more than one Content-Length.")
	case p.encodings > 1:
		p.badRequest("The request has more than one Transfer-Encoding.")
	case p.chunked && p.lengths > 0:
		p.badRequest("The request has both a Content-Length and a Transfer-Encoding.")
	case p.chunked && p.framingTrailer:
		p.badRequest("The Trailer announces a field that is not allowed in a trailer.")
	case p.chunked && p.minor == 0:
		p.badRequest("The request has a Transfer-Encoding, which HTTP/1.0 does not know.")
	}
	p.upgrade = p.connectionUpgrade && p.hasUpgrade && p.minor > 0
}

// acceptValue returns the value of Accept. Nothing else in the header need be
// valid.
func acceptValue(b []byte) string {
	for line := range bytes.Lines(b) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if value = bytes.TrimSpace(value); isName(name, "accept") && message.IsValue(value) {
			return string(value)
		}
	}
	return ""
}

// printable returns the beginning of a part of a bad request so that it can be
// shown.
func printable(b []byte) string {
	const most = 2 << 10
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(string(b[:min(len(b), most)]), "?"))
}

// isHost reports whether text is a valid Host: nothing, or a host with or without a
// port (RFC 3986 section 3.2).
func isHost(text []byte) bool {
	host := text
	if i := bytes.LastIndexByte(text, ':'); i >= 0 && !bytes.HasSuffix(text, []byte("]")) {
		host = text[:i]
		if port := string(text[i+1:]); port != "" {
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
				return false
			}
		}
	}
	if inner, ok := bytes.CutPrefix(host, []byte("[")); ok {
		inner, ok = bytes.CutSuffix(inner, []byte("]"))
		addr, err := netip.ParseAddr(string(inner))
		return ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	for _, c := range host {
		if !hostBytes[c] {
			return false
		}
	}
	return true
}

// hostBytes are the bytes of a host name (RFC 3986 section 3.2.2: reg-name).
var hostBytes = func() (t [256]bool) {
	for c := range t {
		alnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		t[c] = alnum || strings.IndexByte("-._~%!$&'()*+,;=", byte(c)) >= 0
	}
	return t
}()

// isName reports whether b is name, which is in lower case, in any case.
func isName(b []byte, name string) bool {
	return len(b) == len(name) && strings.EqualFold(string(b), name)
}
