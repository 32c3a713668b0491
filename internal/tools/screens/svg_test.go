package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"
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
