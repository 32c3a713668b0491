package tui

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"tqserver/internal/state"
)

// clean returns text that is safe to show, with spaces in place of tabs.
func clean(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	column := 0
	for _, r := range state.Printable(s) {
		if r == '\t' {
			n := 4 - column%4
			b.WriteString("    "[:n])
			column += n
			continue
		}
		b.WriteRune(r)
		column++
	}
	return b.String()
}

// plain reports whether text is printable ASCII, which is the common case.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// width returns the number of cells of text.
func width(s string) int {
	if plain(s) {
		return len(s)
	}
	return ansi.StringWidth(s)
}

// cut shortens text to w cells, with an ellipsis if it is too long.
func cut(s string, w int) string {
	switch {
	case w <= 0:
		return ""
	case width(s) <= w:
		return s
	}
	return ansi.Truncate(s, w, "…")
}

// left fits text into w cells, aligned left.
func left(s string, w int) string {
	s = cut(s, w)
	return s + spaces(w-width(s))
}

// right fits text into w cells, aligned right.
func right(s string, w int) string {
	s = cut(s, w)
	return spaces(w-width(s)) + s
}

func spaces(n int) string {
	if n <= 0 {
		return ""
	}
	return strings.Repeat(" ", n)
}

// wrapped cuts text into pieces of at most w cells.
func wrapped(s string, w int) (pieces []string) {
	if w <= 0 {
		return nil
	}
	for width(s) > w {
		head := ansi.Truncate(s, w, "")
		if head == "" { // one character that is wider than the line
			_, n := utf8.DecodeRuneInString(s)
			s = s[n:]
			continue
		}
		pieces = append(pieces, head)
		s = s[len(head):]
	}
	return append(pieces, s)
}

// took returns a duration in few characters, always with a unit.
func took[D time.Duration | state.Seconds](duration D) string {
	d := time.Duration(duration)
	switch {
	case d <= 0:
		return "—"
	case d < 9950*time.Microsecond: // or it would round to 10.0
		return fmt.Sprintf("%.1fms", max(0.1, float64(d)/1e6))
	case d < time.Second:
		return fmt.Sprintf("%dms", d/time.Millisecond)
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

// age returns a duration in minutes, hours or days, so that a screen on which nothing
// happens does not change.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "<1m"
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02d", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

func memory(bytes int64) string {
	switch {
	case bytes <= 0:
		return "—"
	case bytes < 10<<30:
		return fmt.Sprintf("%dM", max(1, bytes>>20))
	}
	return fmt.Sprintf("%dG", bytes>>30)
}

func rate(perSecond float64) string {
	if perSecond == 0 || perSecond >= 100 {
		return strconv.Itoa(int(perSecond))
	}
	return fmt.Sprintf("%.1f", perSecond)
}

// count returns a number with separators: 4,118.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// ascii replaces characters for terminals that know only ASCII. The width stays.
func ascii(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		cluster, w := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		switch r, _ := utf8.DecodeRuneInString(cluster); {
		case r < utf8.RuneSelf:
			b.WriteString(cluster[:1])
			s = s[1:]
			continue
		case asciiFor[r] != 0:
			b.WriteByte(asciiFor[r])
		default:
			b.WriteString(strings.Repeat("?", w))
		}
		s = s[len(cluster):]
	}
	return b.String()
}

var asciiFor = map[rune]byte{
	'●': '*', '◐': '~', '▲': '!', '✖': 'x', '○': 'o', '◑': '~', '◌': '?', '─': '-', '│': '|', '…': '~', '—': '-', '·': '.', '→': '>', '↓': 'v', '▼': 'v', '•': '*', '≥': '>', '▏': '_',
}
