package tui

import (
	"io"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// look has the styles. They use the terminal's own sixteen colours, which are legible
// on its background, so the background need not be known. No meaning depends on colour
// alone.
type look struct {
	dim, bold, title, plain, good, busy, bad, warn, from lipgloss.Style

	coloured bool
	ascii    bool
}

func newLook(colours, asciiOnly bool) look {
	r := lipgloss.NewRenderer(io.Discard, termenv.WithProfile(termenv.Ascii))
	if colours {
		r.SetColorProfile(termenv.ANSI)
	}
	colour := func(c string) lipgloss.Style { return r.NewStyle().Inline(true).Foreground(lipgloss.Color(c)) }
	plain := r.NewStyle().Inline(true)
	return look{
		dim: plain.Faint(true), bold: plain.Bold(true), title: plain.Bold(true),
		good: colour("2"), busy: colour("6"), bad: colour("1").Bold(true), warn: colour("3"), from: colour("6"),
		plain: plain, coloured: colours, ascii: asciiOnly,
	}
}

// mark shows what is selected or matches in reverse, which works without colours too.
func (l look) mark(text string) string {
	return "\x1b[7m" + text + "\x1b[27m"
}
