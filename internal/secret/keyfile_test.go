package secret

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAKeyIsMadeOnceForTheUserAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	file := filepath.Join(dir, "cookie.key")
	first, err := LoadKey(file)
	if err != nil || first == (Key{}) {
		t.Fatalf("%x, %v", first[:], err)
	}
	if again, err := LoadKey(file); err != nil || again != first {
		t.Errorf("another key, or %v", err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, file: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %o", path, info.Mode(), err, want)
		}
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("the folder has %v", all)
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("0f", 32)
	for _, tt := range []struct {
		text string
		mode os.FileMode
		ok   bool
	}{
		{good, 0o600, true},
		{good + "\n", 0o640, true},
		{good, 0o604, false},
		{good, 0o602, false},
		{good + "\n\n", 0o600, false},
		{good + "00", 0o600, false},
		{good[:62], 0o600, false},
		{"", 0o600, false},
		{strings.Repeat("x", 64), 0o600, false},
	} {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte(tt.text), tt.mode); err != nil {
			t.Fatal(err)
		}
		os.Chmod(file, tt.mode) // whatever the umask is
		if _, err := LoadKey(file); (err == nil) != tt.ok {
			t.Errorf("%q with mode %o: %v", tt.text, tt.mode, err)
		} else if err != nil && !strings.Contains(err.Error(), file) {
			t.Errorf("%v does not name the file", err)
		}
	}
}

func TestAKeyThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := LoadKey(filepath.Join(file, "cookie.key")); err == nil {
		t.Error("no error below a file")
	}
}

func TestAKeyIsNeverShown(t *testing.T) {
	t.Parallel()
	k := Key{1, 2, 3}
	text, _ := json.Marshal(struct{ K Key }{k})
	for _, shown := range []string{fmt.Sprint(k), fmt.Sprintf("%x %d %#v", k, k, struct{ K Key }{k}), string(text)} {
		if strings.ContainsAny(shown, "123") {
			t.Errorf("shown: %s", shown)
		}
	}
}
