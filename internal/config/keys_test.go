package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeysAreReadWithTheirPlaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tui.yaml")
	if _, err := LoadKeys(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a file that is not there: %v", err)
	}
	for text, want := range map[string][]KeyBinding{
		"":            nil,
		"# nothing\n": nil,
		"restart: ctrl+r\n\nquit: [q, f10]\nopen: \"1\"\nkill: []\n": {
			{Place: file + ":1", Action: "restart", Keys: []string{"ctrl+r"}},
			{Place: file + ":3", Action: "quit", Keys: []string{"q", "f10"}},
			{Place: file + ":4", Action: "open", Keys: []string{"1"}},
			{Place: file + ":5", Action: "kill"},
		},
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := LoadKeys(file)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

func TestMistakesInTheKeysAreNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tui.yaml")
	for text, want := range map[string]string{
		"- restart\n":                       ":1: must be lines such as restart: ctrl+r",
		"quit: q\nquit: x\n":                ":2: quit: is set twice",
		"quit: {a: b}\nstop: [[x], \"\"]\n": ":1: quit: must be a key, or a list of keys such as [q, f10]\n" + file + ":2: stop: must be a key, or a list of keys such as [q, f10]\n" + file + ":2: stop: must be a key, or a list of keys such as [q, f10]",
		"quit: [q\n":                        "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKeys(file)
		if err == nil || want != "" && err.Error() != file+want {
			t.Errorf("%q: got\n%v\nwant\n%s", text, err, file+want)
		}
	}
}
