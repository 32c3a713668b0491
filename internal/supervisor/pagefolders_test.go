package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tqserver/internal/build"
	"tqserver/internal/config"
	"tqserver/internal/router"
	"tqserver/internal/state"
)

// TestOnlyWhatMayMakeOrUnmakeAPageHasPagesLookedFor says of each change whether
// the whole pages directory is read because of it.
func TestOnlyWhatMayMakeOrUnmakeAPageHasPagesLookedFor(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		write(fmt.Sprintf("pages/p%d/main.go", i), "package main\n")
	}
	write("pages/p1/data/x.json", "{}")
	write("pages/p1/sub/deep/main.go", "package main\n")
	write("pages/p1/public/gen.go", "package main\n")
	write("pages/lib/x.go", "package lib\n")
	write("pages/blog/main.go", "package main\n")
	write("pages/blog/index/main.go", "package main\n")
	b, err := build.New(build.Options{TempDir: t.TempDir(), Root: root})
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default(root)
	s := &Supervisor{deps: &deps{root: root, store: state.NewStore(state.Server{})}, build: b, cfg: cfg}
	found, err := router.Discover(cfg.Pages.Directory, b.Constraints())
	if err != nil || len(found.Pages) != 301 || len(found.Conflicts) != 1 {
		t.Fatalf("%d pages, %v, %v", len(found.Pages), found.Conflicts, err)
	}
	s.folders = pageFoldersOf(found)

	write("pages/new/main.go", "package main\n")
	write("pages/old/main.go", "package old\n")
	write("pages/p2/main.go", "package lib\n")
	write("pages/internal/x/main.go", "package main\n")
	os.Remove(filepath.Join(root, "pages/p3/main.go"))
	write("pages/p4/more.go", "package main\n")
	os.Mkdir(filepath.Join(root, "pages/empty"), 0o755)
	os.Symlink("p1", filepath.Join(root, "pages/linked"))
	for path, want := range map[string]bool{
		"pages/p1/data/x.json":     false,
		"pages/p1/data/gone.tmp":   false,
		"pages/p1/data":            false,
		"pages/p1/main.go":         false, // the page stays one
		"pages/p4/more.go":         false,
		"pages/p1/main_test.go":    false,
		"pages/p1/public/gen.go":   false,
		"pages/lib/x.go":           false,
		"pages/old/main.go":        false,
		"pages/internal/x/main.go": false,
		"pages/empty":              false,
		"pages/linked":             false,
		"templates/t.html":         false,
		"go.mod":                   false,

		"pages/new/main.go":         true,
		"pages/p2/main.go":          true, // it is one no more
		"pages/p3/main.go":          true,
		"pages/p1":                  true,
		"pages/p1/sub":              true, // a page is below it
		"pages/blog/index":          true,
		"pages":                     true,
		"":                          true,
		"pages/blog/main.go":        false,
		"pages/p1/sub/deep/main.go": false,
	} {
		if got := s.mayChangePages([]string{filepath.Join(root, path)}); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	if os.Getuid() != 0 { // who may read everything
		os.Chmod(filepath.Join(root, "pages/empty"), 0)
		if !s.mayChangePages([]string{filepath.Join(root, "pages/empty")}) {
			t.Error("a folder that cannot be read is not told of")
		}
	}
}

// BenchmarkDataOfAPage is what a write of a page in its own folder costs the
// server, beside few pages and many.
func BenchmarkDataOfAPage(b *testing.B) {
	for _, pages := range []int{3, 300} {
		b.Run(fmt.Sprint(pages), func(b *testing.B) {
			root := b.TempDir()
			for i := range pages {
				dir := filepath.Join(root, fmt.Sprint("pages/p", i))
				os.MkdirAll(dir, 0o755)
				os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n"), 0o644)
			}
			builder, err := build.New(build.Options{TempDir: b.TempDir(), Root: root})
			if err != nil {
				b.Fatal(err)
			}
			s := &Supervisor{deps: &deps{root: root, store: state.NewStore(state.Server{})}, build: builder, cfg: config.Default(root)}
			found, err := router.Discover(s.cfg.Pages.Directory, builder.Constraints())
			if err != nil {
				b.Fatal(err)
			}
			s.folders = pageFoldersOf(found)
			for _, p := range found.Pages {
				builder.Track(p.Dir)
			}
			path := filepath.Join(root, "pages/p1/data.json")
			for b.Loop() {
				s.Changed([]string{path})
				s.dispatch(b.Context())
			}
		})
	}
}
