package router

import (
	"errors"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const mainFile = "package main\n\nfunc main() {}\n"

func TestDiscoverMapsFoldersToRoutes(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{
		"main.go":             mainFile,
		"index/main.go":       mainFile,
		"index/foo/main.go":   mainFile,
		"a/index/main.go":     mainFile,
		"a/b/server.go":       mainFile,
		"a/b/c/index/main.go": mainFile,
		"empty/readme.md":     "",
		"indexes/main.go":     mainFile,
	})
	want := Discovery{Pages: []Page{
		{"/", filepath.Join(root, "index")},
		{"/a", filepath.Join(root, "a/index")},
		{"/a/b", filepath.Join(root, "a/b")},
		{"/a/b/c", filepath.Join(root, "a/b/c/index")},
		{"/index/foo", filepath.Join(root, "index/foo")},
		{"/indexes", filepath.Join(root, "indexes")},
	}}
	if diff := cmp.Diff(want, discover(t, root), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestDiscoverPassesOverFoldersThatAreNeverPages(t *testing.T) {
	t.Parallel()
	files := map[string]string{"ok/main.go": mainFile}
	for _, name := range []string{"_draft", ".git", "testdata", "vendor", "internal", "node_modules"} {
		files[name+"/main.go"] = mainFile
		files[name+"/deep/main.go"] = mainFile
		files["ok/"+name+"/main.go"] = mainFile
	}
	wantRoutes(t, writeTree(t, files), "/ok")
}

func TestDiscoverTakesWhatIsPublicInAPageForFiles(t *testing.T) {
	t.Parallel()
	wantRoutes(t, writeTree(t, map[string]string{
		"public/main.go":            mainFile,
		"public/public/main.go":     mainFile,
		"blog/main.go":              mainFile,
		"blog/public/main.go":       mainFile,
		"blog/public/x/main.go":     mainFile,
		"blog/deep/public/main.go":  mainFile,
		"half/main.go":              "pack",
		"half/public/main.go":       mainFile,
		"lib/lib.go":                "package lib\n",
		"lib/public/main.go":        mainFile,
		"shop/index/main.go":        mainFile,
		"shop/index/public/main.go": mainFile,
		"shop/public/main.go":       mainFile,
	}), "/blog", "/blog/deep/public", "/half", "/lib/public", "/public", "/shop", "/shop/public")
}

func TestDiscoverTellsPagesFromLibraries(t *testing.T) {
	t.Parallel()
	const ignored = "//go:build ignore\n\npackage main\n"
	for name, test := range map[string]struct {
		files map[string]string
		page  bool
	}{
		"a main package":                      {map[string]string{"a.go": mainFile}, true},
		"a byte order mark":                   {map[string]string{"a.go": "\ufeff" + mainFile}, true},
		"comments first":                      {map[string]string{"a.go": "// Command a.\n\n" + mainFile}, true},
		"a library":                           {map[string]string{"a.go": "package a\n"}, false},
		"only tests":                          {map[string]string{"a_test.go": mainFile}, false},
		"a library with a main test":          {map[string]string{"a.go": "package a\n", "b_test.go": mainFile}, false},
		"files that the go command ignores":   {map[string]string{"_a.go": mainFile, ".b.go": mainFile}, false},
		"an ignored generator":                {map[string]string{"gen.go": ignored}, false},
		"a library with an ignored generator": {map[string]string{"a.go": "package a\n", "gen.go": ignored}, false},
		"a page with an ignored library":      {map[string]string{"a.go": mainFile, "b.go": "//go:build ignore\n\npackage b\n"}, true},
		"another system":                      {map[string]string{"a_plan9.go": mainFile}, false},
		"main and another package":            {map[string]string{"a.go": mainFile, "b.go": "package b\n"}, true},
		"an empty file":                       {map[string]string{"a.go": ""}, true},
		"a half-saved file":                   {map[string]string{"a.go": "pack"}, true},
		"a broken constraint":                 {map[string]string{"a.go": "//go:build (\n\npackage main\n"}, true},
		"a library with a half-saved file":    {map[string]string{"a.go": "package a\n", "b.go": ""}, false},
		"a page with a half-saved file":       {map[string]string{"a.go": mainFile, "b.go": "package"}, true},
		"an error after the clause":           {map[string]string{"a.go": mainFile + "func {{{"}, true},
		"no Go file":                          {map[string]string{"a.txt": mainFile}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := make(map[string]string)
			for file, text := range test.files {
				files["p/"+file] = text
			}
			var want []string
			if test.page {
				want = []string{"/p"}
			}
			wantRoutes(t, writeTree(t, files), want...)
		})
	}
}

func TestDiscoverNamesFoldersThatAskForOneRoute(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{
		"blog/main.go":       mainFile,
		"blog/index/main.go": mainFile,
		"blog/post/main.go":  mainFile,
	})
	want := Discovery{
		Pages:     []Page{{"/blog/post", filepath.Join(root, "blog/post")}},
		Conflicts: []Conflict{{"/blog", []string{filepath.Join(root, "blog"), filepath.Join(root, "blog/index")}}},
	}
	if diff := cmp.Diff(want, discover(t, root), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestDiscoverFollowsNoLinksToFolders(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{"a/main.go": mainFile, "elsewhere.go": mainFile})
	symlink(t, root, filepath.Join(root, "a/loop"))
	symlink(t, filepath.Join(root, "a"), filepath.Join(root, "b"))
	symlink(t, "nowhere", filepath.Join(root, "a/gone.go"))
	wantRoutes(t, root, "/a")

	mkdir(t, filepath.Join(root, "c"))
	symlink(t, "../elsewhere.go", filepath.Join(root, "c/main.go"))
	wantRoutes(t, root, "/a", "/c")
}

func TestDiscoverTakesALinkForRoot(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{"a/main.go": mainFile})
	pages := filepath.Join(t.TempDir(), "pages")
	symlink(t, root, pages)
	want := Discovery{Pages: []Page{{"/a", filepath.Join(pages, "a")}}}
	if diff := cmp.Diff(want, discover(t, pages), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestDiscoverDoesNotWaitForAFIFO(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{"a/main.go": mainFile})
	if err := syscall.Mkfifo(filepath.Join(root, "a/a.go"), 0o644); err != nil {
		t.Fatal(err)
	}
	mkdir(t, filepath.Join(root, "b/main.go"))
	wantRoutes(t, root, "/a")
}

func TestDiscoverNamesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	root := writeTree(t, map[string]string{
		"a/b/main.go":  mainFile,
		"file/main.go": mainFile,
		"ok/main.go":   mainFile,

		"file/public/main.go": mainFile,
	})
	closed := filepath.Join(root, "a")
	for path, mode := range map[string]fs.FileMode{closed: 0, filepath.Join(root, "file/main.go"): 0} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(closed, 0o755) })

	want := Discovery{
		Pages:      []Page{{"/ok", filepath.Join(root, "ok")}},
		Unreadable: map[string]error{closed: fs.ErrPermission, filepath.Join(root, "file"): fs.ErrPermission},
	}
	if diff := cmp.Diff(want, discover(t, root), cmpopts.EquateErrors()); diff != "" {
		t.Error(diff)
	}
}

func TestDiscoverFailsWhenRootCannotBeRead(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{"file": ""})
	if _, err := Discover(filepath.Join(root, "missing"), build.Default); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing root gives %v", err)
	}
	if _, err := Discover(filepath.Join(root, "file"), build.Default); err == nil {
		t.Error("a file as root gives no error")
	}
}

func TestDiscoverEndsInADeepTree(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("d/", 200)
	wantRoutes(t, writeTree(t, map[string]string{deep + "main.go": mainFile}), "/"+strings.TrimSuffix(deep, "/"))
}

func TestDiscoverCopesWithATreeThatChanges(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{"steady/main.go": mainFile})
	dir := filepath.Join(root, "comes/and/goes")
	stop := make(chan struct{})
	var saving sync.WaitGroup
	saving.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			err := errors.Join(
				os.MkdirAll(dir, 0o755),
				os.WriteFile(filepath.Join(dir, "main.go"), []byte(mainFile), 0o644),
				os.RemoveAll(filepath.Join(root, "comes")),
			)
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 200 {
		d := discover(t, root)
		if len(d.Unreadable) > 0 || len(d.Conflicts) > 0 || d.Pages[len(d.Pages)-1].Route != "/steady" {
			t.Errorf("a changing tree gives %+v", d)
			break
		}
	}
	close(stop)
	saving.Wait()
}

func TestDiscoverTakesTheFilesThatABuildTakes(t *testing.T) {
	t.Parallel()
	root := writeTree(t, map[string]string{
		"index/main.go":   mainFile,
		"pro/main.go":     "//go:build pro\n\n" + mainFile,
		"plan9/main.go":   "//go:build plan9\n\n" + mainFile,
		"pure/main.go":    "//go:build !cgo\n\n" + mainFile,
		"cgo/main.go":     "package main\n\nimport \"C\"\n\nfunc main() {}\n",
		"both/main.go":    "//go:build pro\n\n" + mainFile,
		"both/library.go": "//go:build !pro\n\npackage both\n",
		"off/main.go":     "//go:build !pro\n\n" + mainFile,
		"half/main.go":    "//go:build pro\n\npack",
	})
	with := func(change func(ctx *build.Context)) build.Context {
		ctx := build.Default
		ctx.CgoEnabled = true
		change(&ctx)
		return ctx
	}
	for name, c := range map[string]struct {
		ctx  build.Context
		want []string
	}{
		"none":    {with(func(*build.Context) {}), []string{"/", "/cgo", "/off"}},
		"a tag":   {with(func(ctx *build.Context) { ctx.BuildTags = []string{"pro"} }), []string{"/", "/both", "/cgo", "/half", "/pro"}},
		"no cgo":  {with(func(ctx *build.Context) { ctx.CgoEnabled = false }), []string{"/", "/cgo", "/off", "/pure"}},
		"another": {with(func(ctx *build.Context) { ctx.GOOS = "plan9" }), []string{"/", "/cgo", "/off", "/plan9"}},
	} {
		d, err := Discover(root, c.ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, page := range d.Pages {
			got = append(got, page.Route)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: routes (-want +got):\n%s", name, diff)
		}
	}
}

// writeTree makes files below a folder and returns it.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		mkdir(t, filepath.Dir(path))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func discover(t *testing.T, root string) Discovery {
	t.Helper()
	d, err := Discover(root, build.Default)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantRoutes(t *testing.T, root string, want ...string) {
	t.Helper()
	var got []string
	for _, page := range discover(t, root).Pages {
		got = append(got, page.Route)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}
