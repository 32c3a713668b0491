package live

import "bytes"

// certainty says how good a place in the beginning of a document is.
type certainty int

const (
	vague  certainty = iota // a doctype may follow, which nothing may come before
	usable                  // nothing can swallow what is put there, but a better place may follow
	final                   // whatever follows
)

// scriptPlace returns where a script goes in a document that begins with b: behind the
// tag that opens the head, or before the first thing that cannot come before it.
// So whatever the document leaves open (a comment, a style, a title) comes later,
// and the doctype stays the first thing in it. A place below 0 is none at all.
//
// It follows the tokenizer of the HTML Living Standard (section 13.2.5) as far as
// that is needed before the head. What is not whole yet is left behind the place.
func scriptPlace(b []byte) (at int, sure certainty) {
	if bytes.HasPrefix(b, []byte("\xfe\xff")) || bytes.HasPrefix(b, []byte("\xff\xfe")) {
		return -1, final // UTF-16, whatever the header says
	}
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		at = 3
	}
	for sure = vague; ; {
		for at < len(b) && isSpace(b[at]) {
			at++
		}
		rest := b[at:]
		end := -1
		switch {
		case isPartOf(rest, "\xef\xbb\xbf"), isPartOf(rest, "\xfe\xff"), isPartOf(rest, "\xff\xfe"),
			isPartOf(rest, "<!doctype"), isPartOf(rest, "<!--"), isPartOf(rest, "<html"), isPartOf(rest, "<head"), isPartOf(rest, "</"):
			return at, sure
		case hasPrefix(rest, "<!--"):
			end = commentEnd(rest)
		case hasPrefix(rest, "<!"), hasPrefix(rest, "<?"), hasPrefix(rest, "</") && !isLetter(rest[2]): // a doctype, or a comment that began wrong
			end = bytes.IndexByte(rest, '>') + 1
			if end > 0 && hasPrefix(rest, "<!doctype") {
				sure = usable
			}
		case isTag(rest, "<html"):
			if end = tagEnd(rest, len("<html")); end > 0 {
				sure = usable
			}
		case isTag(rest, "<head"):
			if end = tagEnd(rest, len("<head")); end > 0 {
				return at + end, final
			}
		default:
			return at, final
		}
		if end <= 0 {
			return at, sure
		}
		at += end
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// hasPrefix compares without regard to case.
func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && bytes.EqualFold(b[:len(prefix)], []byte(prefix))
}

// isPartOf reports whether b may become a text, or be followed by what tells it
// from longer ones.
func isPartOf(b []byte, text string) bool {
	return len(b) <= len(text) && bytes.EqualFold(b, []byte(text[:len(b)]))
}

// isTag reports whether b begins with a tag, and not with one of a longer name.
func isTag(b []byte, name string) bool {
	return hasPrefix(b, name) && (isSpace(b[len(name)]) || b[len(name)] == '/' || b[len(name)] == '>')
}

// commentEnd returns where a comment ends, or -1.
func commentEnd(b []byte) int {
	rest := b[len("<!--"):]
	for _, empty := range []string{">", "->"} {
		if hasPrefix(rest, empty) {
			return len("<!--") + len(empty)
		}
	}
	for i := 0; ; {
		n := bytes.Index(rest[i:], []byte("--"))
		if n < 0 {
			return -1
		}
		i += n
		for _, end := range []string{"-->", "--!>"} {
			if hasPrefix(rest[i:], end) {
				return len("<!--") + i + len(end)
			}
		}
		i++
	}
}

// tagEnd returns where a tag ends, whose name has a length, or -1. A > in quotes
// does not end it, and quotes are such only where a value begins.
func tagEnd(b []byte, name int) int {
	const (
		beforeName = iota
		inName
		afterName
		beforeValue
		inValue
	)
	state, quote := beforeName, byte(0)
	for i := name; i < len(b); i++ {
		switch c := b[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '>':
			return i + 1
		case isSpace(c) && state == inName:
			state = afterName
		case isSpace(c) && state == inValue, c == '/' && state < beforeValue:
			state = beforeName
		case isSpace(c):
		case c == '=' && (state == inName || state == afterName):
			state = beforeValue
		case (c == '"' || c == '\'') && state == beforeValue:
			state, quote = beforeName, c
		case state == beforeName, state == afterName:
			state = inName
		case state == beforeValue:
			state = inValue
		}
	}
	return -1
}
