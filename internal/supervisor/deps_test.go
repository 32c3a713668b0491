package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tqserver/internal/build"
)

func TestTheDefaultFolderOfBinariesGivesWayToTheUsersCache(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	unusable := filepath.Join(t.TempDir(), "bin")
	if err := os.Mkdir(unusable, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(unusable, 0o777); err != nil {
		t.Fatal(err)
	}
	opts := build.Options{TempDir: unusable, Root: t.TempDir()}
	if _, _, err := newBuilder(opts, false); err == nil {
		t.Error("a folder that was chosen gives way")
	}
	_, instead, err := newBuilder(opts, true)
	if err != nil || instead == nil || !strings.Contains(instead.Error(), "may be written to by others") {
		t.Errorf("instead of the default: %v, %v", instead, err)
	}
	if dirs, _ := filepath.Glob(filepath.Join(cache, "*", "tqserver", "bin", "*")); len(dirs) == 0 {
		if dirs, _ = filepath.Glob(filepath.Join(cache, "tqserver", "bin", "*")); len(dirs) != 1 {
			t.Error("there is no folder below the cache")
		}
	}
	opts.TempDir = filepath.Join(t.TempDir(), "fine")
	if _, instead, err := newBuilder(opts, true); instead != nil || err != nil {
		t.Errorf("a default that can be used: %v, %v", instead, err)
	}
}
