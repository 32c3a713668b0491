package project

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAFolderContainsItselfAndWhatLiesBelowIt(t *testing.T) {
	for _, c := range []struct {
		dir, path string
		rel       string // empty if path does not lie there
	}{
		{"/p", "/p", "."},
		{"/p", "/p/a/b", "a/b"},
		{"/p", "/p/..a", "..a"},
		{"/p/", "/p/a", "a"},
		{"/", "/p", "p"},
		{"/p", "/pa", ""},
		{"/p", "/", ""},
		{"/p", "/p/../a", ""},
		{"/p", "/p/a/../../b", ""},
		{"/p", "a", ""},
		{"/p", "", ""},
		{"", "/p", ""},
	} {
		rel, ok := Rel(c.dir, c.path)
		if rel != c.rel || ok != (c.rel != "") || ok != Contains(c.dir, c.path) {
			t.Errorf("Rel(%q, %q) = %q, %v; want %q", c.dir, c.path, rel, ok, c.rel)
		}
	}
}

func TestPathsAreShownRelativeToTheRootTheyLieIn(t *testing.T) {
	for path, want := range map[string]string{"/p/a/b.go": "a/b.go", "/p": ".", "/pa/b.go": "/pa/b.go", "": "", "a.go": "a.go"} {
		if got := Show("/p", path); got != want {
			t.Errorf("Show(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestRelativePathsAreSeenFromTheFolder(t *testing.T) {
	for path, want := range map[string]string{"a/b": "/p/a/b", "../a": "/a", "/x/../y/": "/y", ".": "/p"} {
		if got := Abs("/p", path); got != want {
			t.Errorf("Abs(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestANameLeadsOnlyToRegularFilesOfTheProject(t *testing.T) {
	at := t.TempDir()
	root, real := filepath.Join(at, "root"), filepath.Join(at, "real")
	for _, dir := range []string{"real/pages", "outside"} {
		if err := os.MkdirAll(filepath.Join(at, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"real/pages/main.go", "outside/x"} {
		if err := os.WriteFile(filepath.Join(at, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"root": "real", "real/in": "pages/main.go", "real/out": "../outside/x", "real/nowhere": "nothing", "real/above": ".."} {
		if err := os.Symlink(to, filepath.Join(at, name)); err != nil {
			t.Fatal(err)
		}
	}
	real, err := filepath.EvalSymlinks(real) // the temporary folder may be a link itself
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"pages/main.go": "pages/main.go", filepath.Join(root, "pages", "main.go"): "pages/main.go", "in": "pages/main.go",
		"pages": "", "out": "", "nowhere": "", "nothing": "", "../outside/x": "", "above/outside/x": "", "above/real/pages/main.go": "pages/main.go",
		filepath.Join(at, "outside", "x"): "", "": "",
	} {
		got, ok := Resolve(root, name)
		if ok != (want != "") || ok && got != filepath.Join(real, want) {
			t.Errorf("Resolve(%q) = %q, %v; want %q", name, got, ok, want)
		}
	}
	if _, ok := Resolve(filepath.Join(at, "gone"), "x"); ok {
		t.Error("a name leads somewhere in a project that is gone")
	}
}

func TestAnExcerptHasTheLinesAround(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a.go", "1\r\n2\n3\n\n5\n6\n7")
	write("long.go", strings.Repeat("x", 1<<20)+"\nend\n")
	write("large.go", strings.Repeat("x\n", maxSource/2+1))
	for _, c := range []struct {
		file string
		line int
		want Lines
	}{
		{"a.go", 1, Lines{1, []string{"1", "2", "3"}}},
		{"a.go", 4, Lines{2, []string{"2", "3", "", "5", "6"}}},
		{filepath.Join(root, "a.go"), 7, Lines{5, []string{"5", "6", "7"}}},
		{"a.go", 9, Lines{7, []string{"7"}}},
		{"a.go", 99, Lines{97, nil}},
		{"long.go", 2, Lines{1, []string{strings.Repeat("x", 1<<20), "end"}}},
		{"large.go", 1, Lines{1, nil}},
		{"gone.go", 1, Lines{1, nil}},
		{".", 1, Lines{1, nil}},
	} {
		if diff := cmp.Diff(c.want, Excerpt(root, c.file, c.line)); diff != "" {
			t.Errorf("line %d of %.20s (-want +got):\n%.500s", c.line, c.file, diff)
		}
	}
}
