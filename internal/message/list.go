package message

import (
	"iter"
	"net/http"
	"strings"
)

// Members returns the members of a list field in one or several lines, without
// empty ones (RFC 9110 section 5.6.1).
func Members(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for member := range strings.SplitSeq(line, ",") {
				if member = strings.Trim(member, " \t"); member != "" && !yield(member) {
					return
				}
			}
		}
	}
}

// HasToken reports whether a list contains a token, in any case.
func HasToken(lines []string, token string) bool {
	for member := range Members(lines) {
		if strings.EqualFold(member, token) {
			return true
		}
	}
	return false
}

// IsHopByHop reports whether a field with this canonical name always belongs to one
// connection (RFC 9110 section 7.6.1).
func IsHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// NamedByConnection returns the fields of a header that its Connection field names,
// without those for which IsHopByHop is true. It may be nil.
func NamedByConnection(h http.Header) map[string]bool {
	var named map[string]bool
	var array [64]byte
	for member := range Members(h["Connection"]) {
		if strings.EqualFold(member, "close") || strings.EqualFold(member, "keep-alive") {
			continue // what most messages say
		}
		name := append(array[:0], member...)
		capitalize(name)
		if _, there := h[string(name)]; !there || named[string(name)] || IsHopByHop(string(name)) {
			continue
		}
		if named == nil {
			named = make(map[string]bool)
		}
		named[string(name)] = true
	}
	return named
}

// capitalize brings a name into canonical form in place.
func capitalize(name []byte) {
	upper := true
	for i, c := range name {
		switch {
		case upper && 'a' <= c && c <= 'z':
			name[i] -= 'a' - 'A'
		case !upper && 'A' <= c && c <= 'Z':
			name[i] += 'a' - 'A'
		}
		upper = c == '-'
	}
}

// RemoveHopByHop removes the fields that belong to one connection.
func RemoveHopByHop(h http.Header) {
	for name := range NamedByConnection(h) {
		delete(h, name)
	}
	for name := range h {
		if IsHopByHop(name) {
			delete(h, name)
		}
	}
}
