package state

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns a line of unknown origin as every front end may show it:
// valid UTF-8 without escape sequences (ECMA-48), without control characters but
// tabs, and without characters that change the direction or the width of the text
// around them. Newlines are control characters.
func Printable(text string) string {
	if isPlain(text) {
		return text
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	var b strings.Builder
	for text != "" {
		if n := escapeSequence(text); n > 0 {
			text = text[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		if isPrintable(r) {
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}

// isPlain reports whether text is printable ASCII, as most text is.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < ' ' || c >= 0x7f) && c != '\t' {
			return false
		}
	}
	return true
}

func isPrintable(r rune) bool {
	switch {
	case r == '\t':
		return true
	case r == '\u2028' || r == '\u2029': // separators of lines and paragraphs
		return false
	}
	return !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co) // control, format, private use
}

// escapeSequence returns the length of the escape sequence that text begins with,
// or 0. Of one that is not complete only the ESC counts: no program can hide text
// behind a sequence that does not end.
func escapeSequence(text string) int {
	if text == "" || text[0] != '\x1b' {
		return 0
	}
	n, final := 1, byte('0') // a plain sequence: intermediate bytes and a final one
	switch {
	case len(text) == 1:
		return 1
	case text[1] == '[': // a control sequence, with parameters before these
		n, final = 2, '@'
		for n < len(text) && text[n] >= '0' && text[n] <= '?' {
			n++
		}
	case strings.IndexByte("]PX^_", text[1]) >= 0: // a string up to its terminator
		end := 2 + strings.IndexAny(text[2:], "\a\x1b")
		switch {
		case end < 2:
		case text[end] == '\a':
			return end + 1
		case strings.HasPrefix(text[end:], "\x1b\\"):
			return end + 2
		}
		return 1
	}
	for n < len(text) && text[n] >= ' ' && text[n] <= '/' {
		n++
	}
	if n < len(text) && text[n] >= final && text[n] <= '~' {
		return n + 1
	}
	return 1
}
