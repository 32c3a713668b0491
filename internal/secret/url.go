package secret

import (
	"strings"
	"unicode/utf8"
)

// maxDecodings is how often text is decoded. Text nested deeper hides something.
const maxDecodings = 4

// decoded removes percent-encoding until none is left. It reports whether the
// result is text without control bytes.
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

// decodedOnce removes percent-encoding once. Malformed escapes stay.
func decodedOnce(s string) (text string, valid bool) {
	b := make([]byte, 0, len(s))
	valid = true
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 < len(s) {
			high, low := unhex(s[i+1]), unhex(s[i+2])
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

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c - 'a' + 10)
	case c >= 'A' && c <= 'F':
		return int(c - 'A' + 10)
	}
	return -1
}

// separators are what a program may treat as the end of a parameter.
const separators = "&;?#,+ \x00\x01\x02\x03\x04\x05\x06\x07\b\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"

// maxChecks is how many names and hosts of a text are checked: each check costs as
// much as reading some hundred bytes. Text with more of them hides something.
const maxChecks = 1000

// budget is the number of checks that are left.
type budget int

// exhausted takes one check, and reports whether none was left.
func (c *budget) exhausted() bool {
	*c--
	return *c < 0
}

// hasSecret reports whether text has a secret in it, however it is encoded: a
// parameter with a secret's name, or the credentials of a URL.
func (c *budget) hasSecret(s string) bool {
	for range maxDecodings {
		if c.hasPlainSecret(s) {
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

// hasPlainSecret is hasSecret for text that is not encoded.
func (c *budget) hasPlainSecret(s string) bool {
	for from, i := 0, strings.IndexByte(s, '='); i >= 0; {
		name := s[from : from+i]
		if c.exhausted() || isSecret(name[max(strings.LastIndexAny(name, separators), strings.LastIndexByte(name, '/'))+1:]) {
			return true
		}
		from += i + 1
		i = strings.IndexByte(s[from:], '=')
	}
	for _, rest, ok := strings.Cut(s, "//"); ok; _, rest, ok = strings.Cut(rest, "//") {
		if c.exhausted() || strings.Contains(authority(rest), "@") {
			return true
		}
	}
	return false
}

// authority returns the beginning of text that may be an authority (RFC 3986
// section 3.2).
func authority(s string) string {
	if i := strings.IndexAny(s, "/?#\\"); i >= 0 {
		return s[:i]
	}
	return s
}

// URL returns the target of a request, or a URL, without its secrets: the
// credentials before a host, the fragment, and the values of parameters whose
// names say so. It takes about as long as reading the text, whatever the text is.
func URL(s string) string {
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

// withoutUser removes the credentials from a URL or an authority.
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
	// What looks like a port is a password, which may hold any character.
	if i := strings.LastIndexByte(rest, '@'); i >= 0 && !strings.Contains(host, "@") {
		return scheme + rest[i+1:]
	}
	return scheme + host[strings.LastIndexByte(host, '@')+1:] + rest[len(host):]
}

// Host returns a host without credentials.
func Host(s string) string { return s[strings.LastIndexByte(s, '@')+1:] }

// maskPath cuts a path before its parameters if one of them is a secret.
func maskPath(path string) string {
	scheme := 0
	if !strings.HasPrefix(path, "/") {
		scheme = strings.Index(path, "://") + 1
		if scheme > 0 {
			scheme += 2
		}
	}
	checks := budget(maxChecks)
	if i := strings.IndexAny(path[scheme:], ";%=@:"); i >= 0 && checks.hasSecret(path[scheme:]) {
		return path[:scheme+i] + Masked
	}
	return path
}

// maskQuery masks the parameters of a query.
func maskQuery(query string) string {
	checks := budget(maxChecks)
	var b strings.Builder
	for more := true; more; {
		var part string
		part, query, more = strings.Cut(query, "&")
		checks.maskPart(&b, part)
		if checks < 0 {
			break
		}
		if more {
			b.WriteByte('&')
		}
	}
	return b.String()
}

// maskPart writes what stands between two ampersands, up to the first secret.
func (c *budget) maskPart(b *strings.Builder, part string) {
	for part != "" {
		end := strings.IndexAny(part, separators)
		param := part
		if end >= 0 {
			param = part[:end]
		}
		name, _, given := strings.Cut(param, "=")
		switch {
		case c.exhausted():
			b.WriteString(Masked)
			return
		case given && !c.hasSecret(name) && isSecret(name):
			b.WriteString(name + "=" + Masked)
			return
		case c.hasSecret(param):
			if !given || c.hasSecret(name) {
				b.WriteString(Masked)
				return
			}
			b.WriteString(name + "=" + Masked)
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
