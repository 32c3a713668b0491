package message

import (
	"iter"
	"net/http"
	"strings"
)

// Members returns those of a field that is a list, in one line or several,
// without empty ones (RFC 9110 section 5.6.1).
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

// HasToken reports whether a list has a member, whatever its case.
func HasToken(lines []string, token string) bool {
	for member := range Members(lines) {
		if strings.EqualFold(member, token) {
			return true
		}
	}
	return false
}

// IsHopByHop reports whether a field, by its canonical name, is always of one
// connection (RFC 9110 section 7.6.1).
func IsHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// NamedByConnection returns the fields of a header that its Connection names, which are of
// one connection too, but for those that always are. It may be nil.
func NamedByConnection(h http.Header) map[string]bool {
	var named map[string]bool
	var array [64]byte
	for member := range Members(h["Connection"]) {
		if strings.EqualFold(member, "close") || strings.EqualFold(member, "keep-alive") {
			continue // what most say
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

// capitalize gives a name canonical form, in its place.
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

// RemoveHopByHop removes the fields that are of one connection.
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
