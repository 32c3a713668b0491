package live

import (
	"bytes"
	"strings"
)

// maxTail is how much may follow the tag that closes a body. What is longer is
// taken for part of the document.
const maxTail = 4 << 10

// closing returns where the end of a document begins, as far as b shows: the tag
// that closes the body, followed by nothing but the one that closes the
// document, comments and white space; or the beginning of such a tag. It is
// len(b) if b does not end so.
//
// To look from the end is not only cheaper than to follow the document, it is
// right where a script or an attribute holds such a tag as text: something
// follows there.
func closing(b []byte) int {
	low := max(0, len(b)-maxTail)
	found := len(b)
	for at := len(b); at > low; {
		if isSpace(b[at-1]) {
			at--
			continue
		}
		if bytes.HasSuffix(b[low:at], []byte("-->")) {
			i := bytes.LastIndex(b[low:at], []byte("<!--"))
			if i < 0 {
				return found
			}
			at = low + i
			continue
		}
		i := bytes.LastIndexByte(b[low:at], '<')
		if i < 0 {
			return found
		}
		tag, whole := string(b[low+i:at]), b[at-1] == '>'
		at = low + i
		switch {
		case whole && closes(tag, "body"):
			return at
		case whole && closes(tag, "html"):
		case !whole && begins(tag, "</body"):
			found = at
		case !whole && (begins(tag, "</html") || begins(tag, "<!--")):
		default:
			return found
		}
	}
	return found
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' }

// closes reports whether a tag closes elements of a name.
func closes(tag, name string) bool {
	return len(tag) > len(name)+2 && tag[1] == '/' && strings.EqualFold(strings.TrimRight(tag[2:len(tag)-1], " \n\t\r\f"), name)
}

// begins reports whether one is the beginning of the other. White space may
// have been cut off.
func begins(part, whole string) bool {
	n := min(len(part), len(whole))
	return strings.EqualFold(part[:n], whole[:n]) && (len(part) <= len(whole) || whole == "<!--" || strings.TrimSpace(part[n:]) == "")
}
