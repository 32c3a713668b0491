package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"tqserver/tui"
)

func TestTheManualHasEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/terminal.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range tui.Keys() {
		if !strings.Contains(string(text), "| `"+strings.Join(k.Keys, "` `")+"` | "+k.Help+" | `"+k.Action+"` |") {
			t.Errorf("docs/terminal.md has another line for %s, or none: make screens writes it anew", k.Action)
		}
	}
}

func TestTheManualHasEveryPicture(t *testing.T) {
	t.Parallel()
	pictures := make(map[string]picture)
	for _, s := range new(shop).scenes() {
		if s.name != "" {
			pictures[s.name] = picture{plain: "picture of " + s.name}
		}
	}
	pictures["mistakes"] = picture{plain: "no action rebiuld\nexit 1"}
	text, err := document(pictures)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range pictures {
		if name == "broken" {
			continue // it is docs/screen.svg
		}
		if want := "```text\n" + strings.TrimSuffix(p.plain, "\nexit 1") + "\n```"; !strings.Contains(string(text), want) {
			t.Errorf("the manual has no picture %q", name)
		}
	}
	if strings.Contains(string(text), "{{") {
		t.Errorf("the manual has a template in it:\n%s", text)
	}
	delete(pictures, "inspect")
	if _, err := document(pictures); err == nil {
		t.Error("the manual is written without a picture")
	}
}

func TestTheKeysOfAPaneAreATable(t *testing.T) {
	t.Parallel()
	rows := strings.Split(keyTable(""), "\n")
	row := regexp.MustCompile("^\\| `[^|]+` \\| [^|]+ \\| `[a-z-]+` \\|$")
	if len(rows) < 5 || rows[0] != "| Keys | What they do | Action |" || rows[1] != "| --- | --- | --- |" {
		t.Fatalf("the table begins with %q", rows[0])
	}
	for _, r := range rows[2:] {
		if !row.MatchString(r) {
			t.Errorf("%q is no row", r)
		}
	}
}

func TestPicturesHaveNoBlanksAtTheEnds(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"a  \n  b\n\n  \n": "a\n  b", "": "", "a": "a", "\n a ": "\n a"} {
		if got := trimmed(in); got != want {
			t.Errorf("%q becomes %q, not %q", in, got, want)
		}
	}
}
