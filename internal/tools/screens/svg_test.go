package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestADrawingHasEveryWordInItsPlaceAndColour(t *testing.T) {
	t.Parallel()
	svg, err := drawing("\x1b[1;31mbad <&>\x1b[0m  a b\x1b[7m  rev \x1b[0m\n世x ●──│\x1b[2m dim\n", "t")
	if err != nil {
		t.Fatal(err)
	}
	for in := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := in.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
	for _, want := range []string{
		`<text x="16.0" y="51.0" textLength="58.8" lengthAdjust="spacingAndGlyphs" xml:space="preserve" font-weight="bold" fill="#ff6b6b">bad &lt;&amp;&gt;</text>`,
		`<text x="91.6" y="51.0" textLength="25.2" lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="#d6dde6">a b</text>`,
		`<rect x="116.8" y="38.0" width="50.4" height="18.0" fill="#d6dde6"/>`,
		`fill="#14181f">rev</text>`,
		`<text x="24.4" y="69.0" text-anchor="middle" fill="#d6dde6">世</text>`,
		`<text x="32.8" y="69.0" textLength="8.4" lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="#d6dde6">x</text>`,
		`text-anchor="middle" fill="#d6dde6">●</text>`,
		`<path d="M58.0 65.0 H74.8" stroke="#d6dde6"/>`,
		`<path d="M79.0 56.0 V74.0" stroke="#d6dde6"/>`,
		`fill="#8c929a">dim</text>`,
	} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("the drawing has no %s:\n%s", want, svg)
		}
	}
}

func TestADrawingOfAnUnknownColourIsRefused(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"\x1b[38;5;7mx", "\x1b[xm", "\x1b[1"} {
		if _, err := drawing(line, "t"); err == nil {
			t.Errorf("%q is drawn", line)
		}
	}
}

func TestStylesFollowTheirCodes(t *testing.T) {
	t.Parallel()
	plain := style{fg: -1, bg: -1}
	for codes, want := range map[string]style{
		"":                {fg: -1, bg: -1},
		"0":               {fg: -1, bg: -1},
		"1;2;7;31;44":     {fg: 1, bg: 4, bold: true, faint: true, reverse: true},
		"1;31;22;39":      {fg: -1, bg: -1},
		"97;107;7;27":     {fg: 15, bg: 15},
		"41;49;90;2":      {fg: 8, bg: -1, faint: true},
		"1;31;44;2;7;0;1": {fg: -1, bg: -1, bold: true},
	} {
		cells, after, err := cellsOf("\x1b["+codes+"mx", plain)
		if err != nil || after != want || len(cells) != 1 || cells[0].style != want {
			t.Errorf("%s: %+v, %v; want %+v", codes, after, err, want)
		}
	}
}

func TestWideCharactersTakeTwoCells(t *testing.T) {
	t.Parallel()
	cells, _, err := cellsOf("a世é👍🏽", style{fg: -1, bg: -1})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, c := range cells {
		texts = append(texts, c.text)
	}
	if diff := cmp.Diff([]string{"a", "世", "", "é", "👍🏽", ""}, texts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFaintColoursLieBetweenLetterAndPaper(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, want string }{{"#000000", "#000000", "#000000"}, {"#ffffff", "#000000", "#9e9e9e"}, {"#ff0000", "#0000ff", "#9e0060"}} {
		if got := between(c.from, c.to); got != c.want {
			t.Errorf("between %s and %s is %s, not %s", c.from, c.to, got, c.want)
		}
	}
	if fg, bg := (style{fg: 1, bg: -1, reverse: true}).colours(); fg != paper || bg != sixteen[1] {
		t.Errorf("reversed, letters are %s on %s", fg, bg)
	}
}
