package accesslog

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// What is a secret is decided by the name of a parameter. The rule errs on the
// side of silence: a parameter too many that reads *** costs somebody a guess,
// one too few costs somebody an account. So everything that a program behind us
// may take for a separator is one, a name that cannot be decoded counts as a
// secret, and after a secret nothing is shown before the next ampersand.

const masked = "***"

// Names of parameters whose values are secrets, without capitals, digits at the
// end, and all that is no letter or digit.
var (
	secretParts = []string{"password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "credential", "signature", "session"}
	secretEnds  = []string{"key", "keys", "auth", "authorization", "authcode", "pass", "pwd", "sig", "sid", "jwt", "otp", "assertion", "verifier", "bearer", "cookie"}
	secretNames = []string{"code", "devicecode", "usercode", "pin", "ticket", "samlresponse"}
)

// secretName reports whether the value of a parameter is a secret.
func secretName(name string) bool {
	name, ok := decoded(name)
	if !ok {
		return true
	}
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r >= utf8.RuneSelf {
			return r
		}
		return -1
	}, strings.ToLower(strings.ToUpper(name))) // both, as some letters that are no ASCII have ASCII in another case
	name = strings.TrimRight(name, "0123456789")
	return slices.Contains(secretNames, name) ||
		slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(name, end) }) ||
		slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(name, part) })
}

// maxDecodings is how often text is decoded: who nests deeper hides something.
const maxDecodings = 4

// decoded undoes percent-encoding until there is none left. It reports whether
// that led to text without control bytes.
func decoded(s string) (text string, ok bool) {
	for range maxDecodings {
		if !strings.Contains(s, "%") {
			return s, utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
		}
		var valid bool
		if s, valid = decodedOnce(s); !valid {
			return s, false
		}
	}
	return s, !strings.Contains(s, "%")
}

// decodedOnce undoes percent-encoding once. What is malformed stays.
func decodedOnce(s string) (text string, valid bool) {
	b := make([]byte, 0, len(s))
	valid = true
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 < len(s) {
			high, low := strings.IndexByte(hexDigits, lower(s[i+1])), strings.IndexByte(hexDigits, lower(s[i+2]))
			if high >= 0 && low >= 0 {
				b = append(b, byte(high<<4|low))
				i += 2
				continue
			}
		}
		b = append(b, '%')
		valid = false
	}
	return string(b), valid
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// separators are what a program may take for the end of a parameter.
const separators = "&;?#,+ \x00\x01\x02\x03\x04\x05\x06\x07\b\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"

// maxLooks is how many names and hosts are looked at in a text: each costs as much
// as some hundred bytes cost that are read. Who has more of them hides something.
const maxLooks = 1000

// looks are those that are left.
type looks int

// spent counts one, and reports whether there was none left.
func (l *looks) spent() bool {
	*l--
	return *l < 0
}

// tells reports whether text has a secret in it, however it is encoded: a
// parameter with such a name, or the credentials of a URL.
func (l *looks) tells(s string) bool {
	for range maxDecodings {
		if l.tellsOpenly(s) {
			return true
		}
		next, _ := decodedOnce(s)
		if next == s {
			return false
		}
		s = next
	}
	return true
}

// tellsOpenly is tells for text as it is.
func (l *looks) tellsOpenly(s string) bool {
	for from, i := 0, strings.IndexByte(s, '='); i >= 0; {
		name := s[from : from+i]
		if l.spent() || secretName(name[max(strings.LastIndexAny(name, separators), strings.LastIndexByte(name, '/'))+1:]) {
			return true
		}
		from += i + 1
		i = strings.IndexByte(s[from:], '=')
	}
	for _, rest, ok := strings.Cut(s, "//"); ok; _, rest, ok = strings.Cut(rest, "//") {
		if l.spent() || strings.Contains(authority(rest), "@") {
			return true
		}
	}
	return false
}

// authority is the beginning of text that may be one (RFC 3986 section 3.2).
func authority(s string) string {
	if i := strings.IndexAny(s, "/?#\\"); i >= 0 {
		return s[:i]
	}
	return s
}

// mask returns the target of a request, or a URL, without its secrets: the
// credentials before a host, the fragment, and the values of parameters whose
// names say so.
func mask(s string) string {
	if !strings.ContainsAny(s, "?@#=%") {
		return s
	}
	s, _, _ = strings.Cut(withoutUser(s), "#")
	path, query, ok := strings.Cut(s, "?")
	path = maskPath(path)
	if !ok {
		return path
	}
	return path + "?" + maskQuery(query)
}

// withoutUser removes the credentials from what is no plain path.
func withoutUser(s string) string {
	scheme, rest := "", s
	if strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//") {
		return s
	}
	if i := strings.IndexByte(s, '/'); i == 0 || i > 0 && strings.IndexByte(s, ':') == i-1 {
		rest = strings.TrimLeft(s[i:], "/")
		scheme = s[:len(s)-len(rest)]
	}
	host := authority(rest)
	_, port, _ := strings.Cut(host[strings.LastIndexByte(host, ']')+1:], ":")
	if strings.Trim(port, "0123456789") == "" && !strings.Contains(host, "@") {
		return s
	}
	// What looks like a port is a password, which may have anything in it.
	if i := strings.LastIndexByte(rest, '@'); i >= 0 && !strings.Contains(host, "@") {
		return scheme + rest[i+1:]
	}
	return scheme + host[strings.LastIndexByte(host, '@')+1:] + rest[len(host):]
}

// maskHost returns a host without credentials.
func maskHost(s string) string { return s[strings.LastIndexByte(s, '@')+1:] }

// maskPath cuts a path short that has parameters which are secrets.
func maskPath(path string) string {
	scheme := 0
	if !strings.HasPrefix(path, "/") {
		scheme = strings.Index(path, "://") + 1
		if scheme > 0 {
			scheme += 2
		}
	}
	l := looks(maxLooks)
	if i := strings.IndexAny(path[scheme:], ";%=@:"); i >= 0 && l.tells(path[scheme:]) {
		return path[:scheme+i] + masked
	}
	return path
}

// maskQuery masks the parameters of a query.
func maskQuery(query string) string {
	l := looks(maxLooks)
	var b strings.Builder
	for more := true; more; {
		var part string
		part, query, more = strings.Cut(query, "&")
		l.maskPart(&b, part)
		if l < 0 {
			break
		}
		if more {
			b.WriteByte('&')
		}
	}
	return b.String()
}

// maskPart writes what stands between two ampersands, up to the first secret.
func (l *looks) maskPart(b *strings.Builder, part string) {
	for part != "" {
		end := strings.IndexAny(part, separators)
		param := part
		if end >= 0 {
			param = part[:end]
		}
		name, _, given := strings.Cut(param, "=")
		switch {
		case l.spent():
			b.WriteString(masked)
			return
		case given && !l.tells(name) && secretName(name):
			b.WriteString(name + "=" + masked)
			return
		case l.tells(param):
			if !given || l.tells(name) {
				b.WriteString(masked)
				return
			}
			b.WriteString(name + "=" + masked)
			return
		}
		b.WriteString(param)
		if end < 0 {
			return
		}
		b.WriteByte(part[end])
		part = part[end+1:]
	}
}
