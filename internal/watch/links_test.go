package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func symlink(t *testing.T, to, at string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, at+".new"); err != nil {
		t.Fatal(err)
	}
	rename(t, at+".new", at)
}

// TestTheWayToAPathMayChangeAnywhere has what lies at base/site/pages/a/main.go
// replaced by way of any part of that path, or of a link that leads there.
func TestTheWayToAPathMayChangeAnywhere(t *testing.T) {
	for name, change := range map[string]struct {
		before, change func(t *testing.T, base string)
	}{
		"the folder above is renamed, and another put in its place": {
			func(t *testing.T, base string) { writeFile(t, filepath.Join(base, "site/pages/a/main.go")) },
			func(t *testing.T, base string) {
				writeFile(t, filepath.Join(base, "next/pages/a/main.go"))
				rename(t, filepath.Join(base, "site"), filepath.Join(base, "old"))
				rename(t, filepath.Join(base, "next"), filepath.Join(base, "site"))
			},
		},
		"it is removed and made again": {
			func(t *testing.T, base string) { writeFile(t, filepath.Join(base, "site/pages/a/main.go")) },
			func(t *testing.T, base string) {
				os.RemoveAll(filepath.Join(base, "site"))
				writeFile(t, filepath.Join(base, "site/pages/a/main.go"))
			},
		},
		"a link is set to another folder": {
			func(t *testing.T, base string) {
				writeFile(t, filepath.Join(base, "r1/pages/a/main.go"))
				writeFile(t, filepath.Join(base, "r2/pages/a/main.go"))
				symlink(t, "r1", filepath.Join(base, "site"))
			},
			func(t *testing.T, base string) { symlink(t, "r2", filepath.Join(base, "site")) },
		},
		"a link of a link is": {
			func(t *testing.T, base string) {
				writeFile(t, filepath.Join(base, "releases/r1/pages/a/main.go"))
				writeFile(t, filepath.Join(base, "releases/r2/pages/a/main.go"))
				symlink(t, "r1", filepath.Join(base, "releases/live"))
				symlink(t, "releases/live", filepath.Join(base, "current"))
				symlink(t, filepath.Join(base, "current"), filepath.Join(base, "site"))
			},
			func(t *testing.T, base string) { symlink(t, "r2", filepath.Join(base, "releases/live")) },
		},
		"what a link leads to is renamed": {
			func(t *testing.T, base string) {
				writeFile(t, filepath.Join(base, "deep/releases/r1/pages/a/main.go"))
				symlink(t, "../deep/releases/r1", filepath.Join(base, "links/r"))
				symlink(t, "links/r", filepath.Join(base, "site"))
			},
			func(t *testing.T, base string) {
				writeFile(t, filepath.Join(base, "deeper/releases/r1/pages/a/main.go"))
				rename(t, filepath.Join(base, "deep"), filepath.Join(base, "shallow"))
				rename(t, filepath.Join(base, "deeper"), filepath.Join(base, "deep"))
			},
		},
		"a link inside is set to another folder": {
			func(t *testing.T, base string) {
				writeFile(t, filepath.Join(base, "r1/a/main.go"))
				writeFile(t, filepath.Join(base, "r2/a/main.go"))
				symlink(t, "../r1", filepath.Join(base, "site/pages"))
			},
			func(t *testing.T, base string) { symlink(t, "../r2", filepath.Join(base, "site/pages")) },
		},
		"a link leads nowhere yet": {
			func(t *testing.T, base string) { symlink(t, "releases/r1", filepath.Join(base, "site")) },
			func(t *testing.T, base string) { writeFile(t, filepath.Join(base, "releases/r1/pages/a/main.go")) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			pages := filepath.Join(base, "site/pages")
			change.before(t, base)
			_, s := watchTree(t, pages, func(w *Watcher) {
				w.Set("page", nil, []string{filepath.Join(pages, "a"), filepath.Join(base, "site/go.mod")})
			})
			change.change(t, base)
			s.want(t, pages, filepath.Join(pages, "a"), filepath.Join(pages, "a/main.go"))
			writeFile(t, filepath.Join(pages, "a/main.go"))
			s.want(t, filepath.Join(pages, "a/main.go"))
			writeFile(t, filepath.Join(base, "site/go.mod"))
			s.want(t, filepath.Join(base, "site/go.mod"))
		})
	}
}

// TestAFileIsReportedHoweverItIsReached saves and replaces what links lead to.
func TestAFileIsReportedHoweverItIsReached(t *testing.T) {
	base := t.TempDir()
	root, file := filepath.Join(base, "pages"), filepath.Join(base, "config/server.yaml")
	writeFile(t, filepath.Join(base, "shared/v1/x.go"))
	writeFile(t, filepath.Join(base, "shared/v2/x.go"))
	writeFile(t, filepath.Join(base, "etc/server.yaml"))
	symlink(t, "v1", filepath.Join(base, "shared/live"))
	symlink(t, "../../shared/live/x.go", filepath.Join(root, "a/x.go"))
	symlink(t, "../etc/server.yaml", file)
	_, s := watchTree(t, root, func(w *Watcher) { w.Set("configuration", nil, []string{file}) })
	linked := filepath.Join(root, "a/x.go")
	writeFile(t, filepath.Join(base, "shared/v1/x.go"))
	s.want(t, linked)
	symlink(t, "v2", filepath.Join(base, "shared/live"))
	s.want(t, linked)
	writeFile(t, filepath.Join(base, "shared/v2/x.go"))
	s.want(t, linked)
	writeFile(t, filepath.Join(base, "etc/server.yaml"))
	s.want(t, file)
	writeFile(t, filepath.Join(base, "etc/next"))
	rename(t, filepath.Join(base, "etc/next"), filepath.Join(base, "etc/server.yaml"))
	s.want(t, file)
	symlink(t, "../../shared/v1/x.go", filepath.Join(root, "a/new.go"))
	s.want(t, filepath.Join(root, "a/new.go"))
	writeFile(t, filepath.Join(base, "shared/v1/x.go"))
	s.want(t, filepath.Join(root, "a/new.go"))
}

func TestLinksThatLeadInCirclesAreLeftAlone(t *testing.T) {
	root := t.TempDir()
	symlink(t, "b", filepath.Join(root, "a"))
	symlink(t, "a", filepath.Join(root, "b"))
	symlink(t, ".", filepath.Join(root, "self"))
	_, s := watchTree(t, root, func(w *Watcher) {
		w.Set("path", nil, []string{filepath.Join(root, "a/x"), filepath.Join(root, "self/self/y")})
	})
	writeFile(t, filepath.Join(root, "y"))
	s.want(t, filepath.Join(root, "y"), filepath.Join(root, "self/self/y"))
	os.Remove(filepath.Join(root, "a"))
	writeFile(t, filepath.Join(root, "a/x"))
	s.want(t, filepath.Join(root, "a/x"))
}

func TestWhatNobodyWantsAnyMoreIsNotWatched(t *testing.T) {
	base := t.TempDir()
	pages, lib, far := filepath.Join(base, "pages"), filepath.Join(base, "lib"), filepath.Join(base, "far")
	for _, dir := range []string{pages, lib, far} {
		writeFile(t, filepath.Join(dir, "a/b/x.go"))
	}
	symlink(t, "far/a", filepath.Join(base, "near"))
	w := New(func(err error) { t.Log(err) })
	defer w.notify.Close()
	w.Set("pages", []string{pages}, nil)
	tree := []string{pages, filepath.Join(pages, "a"), filepath.Join(pages, "a/b")}
	w.wantWatched(t, tree...)
	for range 3 {
		w.Set("one", nil, []string{filepath.Join(lib, "a"), filepath.Join(pages, "a"), filepath.Join(base, "none/such")})
		w.Set("other", []string{lib}, []string{filepath.Join(base, "near/b")})
		w.wantWatched(t, slices.Concat(tree, []string{lib, filepath.Join(lib, "a"), filepath.Join(lib, "a/b"), filepath.Join(far, "a/b")})...)
		w.Set("other", nil, []string{filepath.Join(lib, "a/b")})
		w.wantWatched(t, slices.Concat(tree, []string{filepath.Join(lib, "a"), filepath.Join(lib, "a/b")})...)
		w.Set("one", nil, nil)
		w.wantWatched(t, slices.Concat(tree, []string{filepath.Join(lib, "a/b")})...)
		w.Set("other", nil, nil)
		w.wantWatched(t, tree...)
	}
	w.Set("pages", []string{filepath.Join(pages, "a")}, nil)
	w.wantWatched(t, tree...)
	w.Set("pages", nil, []string{filepath.Join(pages, "a")})
	w.wantWatched(t, pages, filepath.Join(pages, "a"))
	w.Set("pages", nil, nil)
	w.wantWatched(t)
	if len(w.root.children) > 0 || len(w.interests) > 0 {
		t.Errorf("known are still %v, asked for %v", w.root.children, w.interests)
	}
}

func TestWhatHappensBesideTheWayIsNotReported(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "site/pages")
	writeFile(t, filepath.Join(root, "a/main.go"))
	_, s := watchTree(t, root, nil)
	for i := range 100 {
		writeFile(t, filepath.Join(base, "noise", fmt.Sprint(i)))
		writeFile(t, filepath.Join(base, fmt.Sprint("noise", i)))
		writeFile(t, filepath.Join(base, "site/log"))
	}
	writeFile(t, filepath.Join(root, "a/main.go"))
	for {
		<-s.more
		s.mu.Lock()
		paths := slices.Clone(s.paths)
		s.mu.Unlock()
		if slices.Contains(paths, filepath.Join(root, "a/main.go")) {
			for _, path := range paths {
				if path != filepath.Join(root, "a/main.go") {
					t.Errorf("reported is %s", path)
				}
			}
			return
		}
	}
}

// TestAnEventCostsWhatItTouches counts what is looked at for one.
func TestAnEventCostsWhatItTouches(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "pages")
	for i := range 300 {
		writeFile(t, filepath.Join(root, fmt.Sprintf("p%d/data/x", i)))
	}
	writeFile(t, filepath.Join(root, "p7/sub/deep/x"))
	w := New(func(err error) { t.Log(err) })
	defer w.notify.Close()
	w.Set("pages", []string{root}, nil)
	for i := range 300 {
		dir := filepath.Join(root, fmt.Sprint("p", i))
		w.Set(dir, nil, []string{dir, filepath.Join(base, "go.mod")})
	}
	for path, want := range map[string]int{
		"p3/data/x":    0, // nothing is watched because of it
		"p3/data/new":  0,
		"p7/sub":       2,
		"p7/data":      1,
		"p7":           4,
		"../go.mod":    1,
		"../elsewhere": 0,
	} {
		n := w.root
		for _, name := range splitPath(filepath.Join(root, path)) {
			if n != nil {
				n = n.children[name]
			}
		}
		if got := 0; n != nil {
			if got = len(n.affectedLocked()); got != want {
				t.Errorf("%s touches %d, want %d", path, got, want)
			}
		} else if want != 0 {
			t.Errorf("%s is not known", path)
		}
	}
}

func splitPath(path string) []string {
	if path == "/" {
		return nil
	}
	return append(splitPath(filepath.Dir(path)), filepath.Base(path))
}

// BenchmarkAtomicWrites is what it costs to see a file written beside its place
// and renamed over, with few folders watched and many.
func BenchmarkAtomicWrites(b *testing.B) {
	for _, folders := range []int{4, 4000} {
		b.Run(fmt.Sprint(folders), func(b *testing.B) {
			root := b.TempDir()
			for i := range folders {
				os.Mkdir(filepath.Join(root, fmt.Sprint(i)), 0o755)
			}
			w := New(func(err error) { b.Log(err) })
			defer w.notify.Close()
			w.Set("pages", []string{root}, nil)
			at, next := filepath.Join(root, "1/x"), filepath.Join(root, "1/x.tmp")
			for b.Loop() {
				os.WriteFile(next, nil, 0o644)
				os.Rename(next, at)
				var r report
				for !r.known[at] {
					w.handle(&r, <-w.notify.Events)
				}
			}
		})
	}
}
