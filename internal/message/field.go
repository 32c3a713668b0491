package message

import (
	"bytes"
	"net/http"
	"strings"
)

// MaxFields is how many fields a header or a trailer may have. Programs send ten to
// fifty. Each field costs memory in addition to its bytes.
const MaxFields = 256

// Malformed says what is wrong with a message, in a sentence for users.
type Malformed string

func (m Malformed) Error() string { return string(m) }

// TooManyFields is the error of a header with more than [MaxFields].
const TooManyFields = Malformed("The header has too many fields.")

// CutLine returns the first line of b, without its CRLF, and the rest.
func CutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	return b[:i-1], b[i+1:]
}

// SplitField returns the name and the value of a field line, or a [Malformed] (RFC
// 9110 section 5, RFC 9112 section 5).
func SplitField(line []byte) (name, value []byte, err error) {
	colon := bytes.IndexByte(line, ':')
	switch {
	case len(line) > 0 && (line[0] == ' ' || line[0] == '\t'):
		return nil, nil, Malformed("A header line is folded.")
	case colon < 0 || !IsToken(line[:colon]):
		return nil, nil, Malformed("The header contains an invalid field name.")
	}
	name, value = line[:colon], bytes.Trim(line[colon+1:], " \t")
	if !IsValue(value) {
		return nil, nil, Malformed("The header contains a value with a control character.")
	}
	return name, value, nil
}

// ParseHeader returns the n fields of a header whose lines were checked, in
// net/http's form: names are canonical, values unchanged.
func ParseHeader(lines []byte, n int) http.Header {
	fields := NewFields(n)
	for range n {
		var line []byte
		line, lines = CutLine(lines)
		name, value, _ := SplitField(line)
		fields.Add(name, value)
	}
	return fields.Header
}

// Fields collects the fields of a header.
type Fields struct {
	http.Header
	values []string // space for the fields that occur once, as most do
}

// NewFields returns Fields for about n fields.
func NewFields(n int) Fields { return Fields{make(http.Header, n), make([]string, n)} }

// Add adds a field that was checked.
func (f *Fields) Add(name, value []byte) {
	key := CanonicalName(name)
	values := f.Header[key]
	if values != nil || len(f.values) == 0 {
		f.Header[key] = append(values, string(value))
		return
	}
	f.values[0] = string(value)
	f.Header[key], f.values = f.values[:1:1], f.values[1:]
}

// CanonicalName returns a name in canonical form.
func CanonicalName(b []byte) string {
	if name, ok := canonicalNames[string(b)]; ok {
		return name
	}
	return http.CanonicalHeaderKey(string(b))
}

// canonicalNames maps the common forms of common names, so that these need no
// allocation.
var canonicalNames = func() map[string]string {
	forms := make(map[string]string)
	for name := range strings.FieldsSeq(`
		Accept Accept-Charset Accept-Encoding Accept-Language Accept-Ranges Access-Control-Allow-Origin Age Allow Alt-Svc Authorization
		Cache-Control Connection Content-Disposition Content-Encoding Content-Language Content-Length Content-Range Content-Security-Policy
		Content-Type Cookie Date DNT ETag Expect Expires Forwarded From Host If-Match If-Modified-Since If-None-Match If-Range Keep-Alive
		Last-Modified Link Location Max-Forwards Origin Pragma Priority Range Referer Referrer-Policy Retry-After
		Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User
		Sec-WebSocket-Accept Sec-WebSocket-Extensions Sec-WebSocket-Key Sec-WebSocket-Protocol Sec-WebSocket-Version
		Server Server-Timing Set-Cookie Strict-Transport-Security TE Traceparent Tracestate Trailer Transfer-Encoding
		Upgrade Upgrade-Insecure-Requests User-Agent Vary Via WWW-Authenticate X-Content-Type-Options
		X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Frame-Options X-Powered-By X-Real-IP X-Request-ID X-Requested-With`) {
		canonical := http.CanonicalHeaderKey(name)
		forms[name], forms[canonical], forms[strings.ToLower(name)] = canonical, canonical, canonical
	}
	return forms
}()

// Classes of bytes.
const (
	tokenByte = 1 << iota // RFC 9110 section 5.6.2
	valueByte             // RFC 9110 section 5.5
)

var byteClasses = func() (t [256]byte) {
	for c := range t {
		alnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if alnum || strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0 {
			t[c] |= tokenByte
		}
		if c >= ' ' && c != 0x7f || c == '\t' {
			t[c] |= valueByte
		}
	}
	return t
}()

// IsToken reports whether text is a token, such as a field name.
func IsToken[T string | []byte](text T) bool {
	for i := range len(text) {
		if byteClasses[text[i]]&tokenByte == 0 {
			return false
		}
	}
	return len(text) > 0
}

// IsValue reports whether text is a valid field value.
func IsValue(text []byte) bool {
	for _, c := range text {
		if byteClasses[c]&valueByte == 0 {
			return false
		}
	}
	return true
}

// IsDigit reports whether c is a decimal digit.
func IsDigit(c byte) bool { return '0' <= c && c <= '9' }

// IsHex reports whether c is a hexadecimal digit.
func IsHex(c byte) bool { return IsDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
