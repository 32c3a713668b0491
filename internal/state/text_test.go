package state

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTextOfUnknownOriginIsPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"plain text, ~":                       "plain text, ~",
		"a\tb c":                              "a\tb c",
		"grün 世界 🎉":                           "grün 世界 🎉",
		"a\r\nb\x00\x07\x7f\u0085c":           "abc",
		"\xff\xfea\xff":                       "\uFFFDa\uFFFD",
		"\x1b[1;31mred\x1b[0m":                "red",
		"\x1b[?25l\x1b[2 q\x1b[>4;2mx":        "x",
		"\x1b]0;title\ax\x1b]8;;u\x1b\\y":     "xy",
		"\x1bPq#0\x1b\\x\x1b_G\x1b\\\x1b^\ay": "xy",
		"\x1b(Bx\x1b7y\x1bMz\x1b#8":           "xyz",
		"x\x1b":                               "x",
		"x\x1b[":                              "x[",
		"x\x1b[31":                            "x[31",
		"x\x1b[3é":                            "x[3é",
		"\x1b]0;this does not end":            "]0;this does not end",
		"\x1b]0;nor this\x1b[1m\x1b]x":        "]0;nor this]x",
		"\x1b\x1b[31mx":                       "x",
		"safe\u202eevil\u2066\u200b\ufeff":    "safeevil",
		"a\u2028b\u2029c\ue000":               "abc",
		"\u009b31mx":                          "31mx",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNoControlByteReachesTheConsole(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext – 日本":                         "plain\ttext – 日本",
		"\x1b[31mred\x1b[0m":                       "red",
		"\x1b]0;title\x07bell\x07":                 "bell",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "link",
		"a\rb\x00c\x7fd\u009be":                    "abcde",
		"\x1b":                                     "",
		"\x1b[2":                                   "[2",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q becomes %q, not %q", in, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("\x1b[1;31mred\x1b]0;t\a\x1b\\\u202e\xff")
	f.Fuzz(func(t *testing.T, text string) {
		got := Printable(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool {
			return unicode.Is(unicode.Cf, r) || unicode.IsControl(r) && r != '\t'
		}) {
			t.Errorf("Printable(%q) = %q", text, got)
		}
		if again := Printable(got); again != got {
			t.Errorf("Printable(%q) = %q, and of that %q", text, got, again)
		}
	})
}

func BenchmarkPrintable(b *testing.B) {
	for name, text := range map[string]string{
		"plain":   strings.Repeat("a plain line. ", 10),
		"colours": strings.Repeat("\x1b[31mred\x1b[0m ", 10),
		"strings": strings.Repeat("\x1b]", 1000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				Printable(text)
			}
		})
	}
}
