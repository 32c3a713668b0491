package main

import (
	"os"
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
