package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// A picture in SVG has to look right in a font that we do not know. So every
// word has its own place and length, what is no ASCII is centred in its cell,
// and lines are drawn, not written.

// The measures of the picture, in pixels.
const (
	cellWidth, cellHeight = 8.4, 18.0
	fontSize              = 14
	margin, titleHeight   = 16.0, 38.0
)

const (
	ink, paper = "#d6dde6", "#14181f"
	frame, bar = "#343c47", "#1d232c"
	fonts      = `ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace`
)

// sixteen are the colours of a terminal, the bright ones last.
var sixteen = [16]string{
	"#3b4350", "#ff6b6b", "#5ac878", "#e5b454", "#6aa5f8", "#c792ea", "#4fc3d3", "#c5cdd8",
	"#6b7585", "#ff8f8f", "#86e29b", "#f5cf7f", "#93c0ff", "#dbb1f5", "#86dfe9", "#ffffff",
}

// style is the style of a cell.
type style struct {
	fg, bg               int // of the sixteen, or -1
	bold, faint, reverse bool
}

// cell is a character with its combining characters.
type cell struct {
	text  string
	width int // in columns
	style style
}

// drawing makes an SVG of what tmux captured with its colours.
func drawing(captured, title string) ([]byte, error) {
	lines := strings.Split(strings.TrimRight(captured, "\n"), "\n")
	st, cols := style{fg: -1, bg: -1}, 0
	var body bytes.Buffer
	for y, line := range lines {
		cells, after, err := cellsOf(line, st)
		if err != nil {
			return nil, fmt.Errorf("line %d of the screen: %w", y+1, err)
		}
		st = after
		cols = max(cols, len(cells))
		drawLine(&body, cells, y)
	}
	w, h := 2*margin+float64(cols)*cellWidth, titleHeight+margin*1.5+float64(len(lines))*cellHeight
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="%s" font-size="%d" role="img">`+"\n", w, h, w, h, fonts, fontSize)
	fmt.Fprintf(&out, "<title>%s</title>\n", escaped(title))
	fmt.Fprintf(&out, `<rect x="0.5" y="0.5" width="%.0f" height="%.0f" rx="10" fill="%s" stroke="%s"/>`+"\n", w-1, h-1, paper, frame)
	fmt.Fprintf(&out, `<path d="M1 %v V10.5 A9.5 9.5 0 0 1 10.5 1 H%.1f A9.5 9.5 0 0 1 %.0f 10.5 V%v Z" fill="%s"/>`+"\n", titleHeight-10, w-10.5, w-1, titleHeight-10, bar)
	for i, c := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&out, `<circle cx="%d" cy="%.1f" r="5.5" fill="%s"/>`+"\n", 20+i*19, (titleHeight-10)/2, c)
	}
	fmt.Fprintf(&out, `<text x="%.0f" y="%.1f" text-anchor="middle" font-size="12.5" fill="#8b96a5">%s</text>`+"\n", w/2, (titleHeight-10)/2+4.5, escaped(title))
	out.Write(body.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes(), nil
}

// cellsOf reads a line and the style it begins with, and returns the style that
// it ends with. A wide character takes two places, of which the second is empty.
func cellsOf(line string, st style) (cells []cell, after style, err error) {
	for line != "" {
		if rest, ok := strings.CutPrefix(line, "\x1b["); ok {
			codes, rest, ok := strings.Cut(rest, "m")
			if !ok {
				return nil, st, fmt.Errorf("a sequence that does not end: %q", line)
			}
			for _, code := range strings.Split(codes, ";") {
				if st, err = st.apply(code); err != nil {
					return nil, st, err
				}
			}
			line = rest
			continue
		}
		text, w := ansi.FirstGraphemeCluster(line, ansi.GraphemeWidth)
		cells = append(cells, cell{text, w, st})
		for range w - 1 {
			cells = append(cells, cell{"", 0, st})
		}
		line = line[len(text):]
	}
	return cells, st, nil
}

// apply returns the style after an SGR code (ECMA-48, 8.3.117).
func (st style) apply(code string) (style, error) {
	n, err := strconv.Atoi(code)
	if code == "" {
		n, err = 0, nil
	}
	switch {
	case err != nil:
		return st, fmt.Errorf("the code %q is no number", code)
	case n == 0:
		return style{fg: -1, bg: -1}, nil
	case n == 1:
		st.bold = true
	case n == 2:
		st.faint = true
	case n == 7:
		st.reverse = true
	case n == 22:
		st.bold, st.faint = false, false
	case n == 27:
		st.reverse = false
	case n >= 30 && n <= 37:
		st.fg = n - 30
	case n == 39:
		st.fg = -1
	case n >= 40 && n <= 47:
		st.bg = n - 40
	case n == 49:
		st.bg = -1
	case n >= 90 && n <= 97:
		st.fg = n - 90 + 8
	case n >= 100 && n <= 107:
		st.bg = n - 100 + 8
	default:
		return st, fmt.Errorf("there is no drawing of the code %d", n)
	}
	return st, nil
}

// colours returns the colours of text and background.
func (st style) colours() (fg, bg string) {
	fg, bg = ink, paper
	if st.fg >= 0 {
		fg = sixteen[st.fg]
	}
	if st.bg >= 0 {
		bg = sixteen[st.bg]
	}
	if st.reverse {
		fg, bg = bg, fg
	}
	if st.faint {
		fg = between(fg, bg)
	}
	return fg, bg
}

// between returns a mix of two colours, for faint text.
func between(from, to string) string {
	a, _ := strconv.ParseUint(from[1:], 16, 32)
	b, _ := strconv.ParseUint(to[1:], 16, 32)
	mixed := uint64(0)
	for _, shift := range []uint{16, 8, 0} {
		mixed |= ((a>>shift&0xff)*62 + (b>>shift&0xff)*38) / 100 << shift
	}
	return fmt.Sprintf("#%06x", mixed)
}

func drawLine(out *bytes.Buffer, cells []cell, y int) {
	top := titleHeight + float64(y)*cellHeight
	x := func(column int) float64 { return margin + float64(column)*cellWidth }
	eachRun(cells, func(i int) any { _, bg := cells[i].style.colours(); return bg }, func(from, to int) {
		if _, bg := cells[from].style.colours(); bg != paper {
			fmt.Fprintf(out, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x(from), top, float64(to-from)*cellWidth, cellHeight, bg)
		}
	})
	type run struct {
		kind  string
		style style
	}
	kind := func(i int) string {
		switch c := cells[i]; {
		case c.text == "─" || c.text == "│":
			return c.text
		case c.text == " " && (i == 0 || cells[i-1].text == " " || i == len(cells)-1 || cells[i+1].text == " "):
			return "" // blanks between words that stand apart
		case len(c.text) == 1:
			return "word"
		}
		return strconv.Itoa(i) // by itself
	}
	eachRun(cells, func(i int) any { return run{kind(i), cells[i].style} }, func(from, to int) {
		text := ""
		for _, c := range cells[from:to] {
			text += c.text
		}
		fg, _ := cells[from].style.colours()
		middle, base := top+cellHeight/2, top+cellHeight*0.72
		switch {
		case strings.TrimSpace(text) == "":
		case cells[from].text == "─":
			fmt.Fprintf(out, `<path d="M%.1f %.1f H%.1f" stroke="%s"/>`+"\n", x(from), middle, x(to), fg)
		case cells[from].text == "│":
			fmt.Fprintf(out, `<path d="M%.1f %.1f V%.1f" stroke="%s"/>`+"\n", x(from)+cellWidth/2, top, top+cellHeight, fg)
		case len(cells[from].text) > 1:
			fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="middle"%s fill="%s">%s</text>`+"\n", x(from)+float64(cells[from].width)*cellWidth/2, base, weight(cells[from].style), fg, escaped(text))
		default:
			text = strings.TrimRight(text, " ")
			to = from + len(text)
			text = strings.TrimLeft(text, " ")
			from = to - len(text)
			fmt.Fprintf(out, `<text x="%.1f" y="%.1f" textLength="%.1f" lengthAdjust="spacingAndGlyphs" xml:space="preserve"%s fill="%s">%s</text>`+"\n",
				x(from), base, float64(to-from)*cellWidth, weight(cells[from].style), fg, escaped(text))
		}
	})
}

// eachRun calls do for every run of cells with the same key.
func eachRun(cells []cell, key func(i int) any, do func(from, to int)) {
	from, last := 0, any(nil)
	for i, c := range cells {
		if c.width == 0 {
			continue // belongs to the cell before
		}
		if k := key(i); i > 0 && k != last {
			do(from, i)
			from, last = i, k
		} else {
			last = k
		}
	}
	if len(cells) > 0 {
		do(from, len(cells))
	}
}

func weight(st style) string {
	if st.bold {
		return ` font-weight="bold"`
	}
	return ""
}

func escaped(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text))
	return b.String()
}
