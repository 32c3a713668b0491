package watch

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// wantWatched checks that exactly the folders are watched, and those on the way
// to them, by the kernel too.
func (w *Watcher) wantWatched(t *testing.T, dirs ...string) {
	t.Helper()
	want := map[string]bool{"/": true}
	for _, dir := range dirs {
		for ; !want[dir]; dir = filepath.Dir(dir) {
			want[dir] = true
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	seen, kernel := make(map[string]bool), make(map[string]bool)
	for _, n := range w.root.belowLocked(nil) {
		if n.real != "" {
			seen[n.real] = true
		}
	}
	for _, dir := range w.notify.WatchList() {
		kernel[dir] = true
	}
	if !maps.Equal(seen, want) || !maps.Equal(kernel, want) || len(w.names) != len(want) {
		t.Errorf("watched are %v, by the kernel %v, want %v", seen, kernel, want)
	}
}

// waitUntilCaughtUp waits until all that was done before is reported.
func (s *recorder) waitUntilCaughtUp(t *testing.T, root string) {
	t.Helper()
	for _, name := range []string{".one", ".two"} { // what came before the second was taken with the first at the latest
		writeFile(t, filepath.Join(root, name))
		s.want(t, filepath.Join(root, name))
		os.Remove(filepath.Join(root, name))
	}
}

func TestFoldersThatComeAndGoLeaveNoWatch(t *testing.T) {
	root := t.TempDir()
	w, s := watchTree(t, root, nil)
	for i := range 200 {
		dir := filepath.Join(root, "page")
		writeFile(t, filepath.Join(dir, "deep", "main.go"))
		if i%2 == 0 {
			s.want(t, filepath.Join(dir, "deep", "main.go"))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	s.waitUntilCaughtUp(t, root)
	w.wantWatched(t, root)
}

func TestAFolderThatIsReplacedAtOnceIsStillWatched(t *testing.T) {
	root := t.TempDir()
	a := filepath.Join(root, "a")
	writeFile(t, filepath.Join(a, "main.go"))
	w, s := watchTree(t, root, nil)
	for i := range 100 {
		next := filepath.Join(root, "next")
		writeFile(t, filepath.Join(next, "main.go"))
		open, err := os.Open(a) // as a compiler does whose folder is taken away: its end is heard of late
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			os.RemoveAll(a)
		} else {
			rename(t, a, filepath.Join(t.TempDir(), "away"))
		}
		rename(t, next, a)
		open.Close()
	}
	s.waitUntilCaughtUp(t, root)
	writeFile(t, filepath.Join(a, "main.go"))
	s.want(t, filepath.Join(a, "main.go"))
	w.wantWatched(t, root, a)
}

func TestAFolderMovedOutIsNotWatchedAndMovedInItIs(t *testing.T) {
	root, away := t.TempDir(), filepath.Join(t.TempDir(), "a")
	a := filepath.Join(root, "a")
	writeFile(t, filepath.Join(a, "b", "main.go"))
	w, s := watchTree(t, root, nil)
	for range 5 {
		rename(t, a, away)
		s.want(t, a)
		s.waitUntilCaughtUp(t, root)
		w.wantWatched(t, root)
		rename(t, away, a)
		s.want(t, a, filepath.Join(a, "b", "main.go"))
		writeFile(t, filepath.Join(a, "b", "main.go"))
		s.want(t, filepath.Join(a, "b", "main.go"))
	}
	w.wantWatched(t, root, a, filepath.Join(a, "b"))
}

func TestAStormOfRenamesEndsWithWhatIsThere(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "p0", "sub", "main.go"))
	w, s := watchTree(t, root, nil)
	last := ""
	for i := range 300 {
		last = filepath.Join(root, fmt.Sprint("p", (i+1)%3))
		rename(t, filepath.Join(root, fmt.Sprint("p", i%3)), last)
	}
	s.waitUntilCaughtUp(t, root)
	writeFile(t, filepath.Join(last, "sub", "main.go"))
	s.want(t, filepath.Join(last, "sub", "main.go"))
	w.wantWatched(t, root, last, filepath.Join(last, "sub"))
}

func TestACheckoutIsFollowed(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git")
	}
	root := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q", "-b", "one")
	for i := range 20 {
		writeFile(t, filepath.Join(root, fmt.Sprint("a", i), "x", "main.go"))
	}
	git("add", ".")
	git("commit", "-qm", "one")
	git("checkout", "-qb", "two")
	git("rm", "-rq", ".")
	for i := range 20 {
		writeFile(t, filepath.Join(root, fmt.Sprint("a", i), "main.go"))
		writeFile(t, filepath.Join(root, fmt.Sprint("b", i), "y", "main.go"))
	}
	git("add", ".")
	git("commit", "-qm", "two")
	w, s := watchTree(t, root, nil)
	for i := range 4 {
		git("checkout", "-q", []string{"one", "two"}[i%2])
	}
	s.waitUntilCaughtUp(t, root)
	want := []string{root}
	for i := range 20 {
		a, b := filepath.Join(root, fmt.Sprint("a", i)), filepath.Join(root, fmt.Sprint("b", i))
		want = append(want, a, b, filepath.Join(b, "y"))
		writeFile(t, filepath.Join(b, "y", "main.go"))
		s.want(t, filepath.Join(b, "y", "main.go"))
		writeFile(t, filepath.Join(a, "main.go"))
		s.want(t, filepath.Join(a, "main.go"))
	}
	w.wantWatched(t, want...)
}

func TestHiddenFoldersThatComeLaterAreNotWatched(t *testing.T) {
	root := t.TempDir()
	w, s := watchTree(t, root, nil)
	writeFile(t, filepath.Join(root, ".git", "objects", "ab", "x"))
	writeFile(t, filepath.Join(root, "node_modules", "x", "y.js"))
	writeFile(t, filepath.Join(root, "a", "node_modules", "x", "y.js"))
	s.waitUntilCaughtUp(t, root)
	w.wantWatched(t, root, filepath.Join(root, "a"))
}

func TestWhatComesAboveATreeIsNotWatchedButForTheTree(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "project", "pages")
	w, s := watchTree(t, root, nil)
	elsewhere := filepath.Join(t.TempDir(), "project")
	writeFile(t, filepath.Join(elsewhere, "pages", "a", "main.go"))
	writeFile(t, filepath.Join(elsewhere, "other", "deep", "x"))
	rename(t, elsewhere, filepath.Join(base, "project"))
	s.want(t, root, filepath.Join(root, "a", "main.go"))
	w.wantWatched(t, base, root, filepath.Join(root, "a"))
}

func TestAFolderThatHasTwoNamesIsReportedUnderBoth(t *testing.T) {
	base := t.TempDir()
	real, link := filepath.Join(base, "real"), filepath.Join(base, "link")
	writeFile(t, filepath.Join(real, "p", "main.go"))
	os.Symlink("real", link)
	w, s := watchTree(t, link, func(w *Watcher) { w.Set("paths", nil, []string{filepath.Join(real, "p")}) })
	for range 2 {
		writeFile(t, filepath.Join(real, "p", "main.go"))
		s.want(t, filepath.Join(real, "p", "main.go"), filepath.Join(link, "p", "main.go"))
	}
	os.RemoveAll(filepath.Join(real, "p"))
	s.want(t, filepath.Join(real, "p"), filepath.Join(link, "p"))
	s.waitUntilCaughtUp(t, link)
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.notify.WatchList(), filepath.Join(real, "p")) {
		t.Errorf("watched are %v", w.notify.WatchList())
	}
}

func TestALinkInATreeHidesNothing(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "a", "main.go"))
	w, s := watchTree(t, root, nil)
	os.Symlink("a", filepath.Join(root, "b"))
	s.waitUntilCaughtUp(t, root)
	writeFile(t, filepath.Join(root, "a", "main.go"))
	s.want(t, filepath.Join(root, "a", "main.go"))
	w.wantWatched(t, root, filepath.Join(root, "a"))
}

func TestATreeThatIsALinkFollowsIt(t *testing.T) {
	base := t.TempDir()
	link := filepath.Join(base, "pages")
	writeFile(t, filepath.Join(base, "v1", "a", "main.go"))
	writeFile(t, filepath.Join(base, "v2", "a", "main.go"))
	os.Symlink("v1", link)
	_, s := watchTree(t, link, nil)
	os.Symlink("v2", link+".new")
	rename(t, link+".new", link)
	s.want(t, link, filepath.Join(link, "a", "main.go"))
	writeFile(t, filepath.Join(base, "v2", "a", "main.go"))
	s.want(t, filepath.Join(link, "a", "main.go"))
}

func TestAfterAnOverflowAReplacedFolderIsWatched(t *testing.T) {
	root := t.TempDir()
	a := filepath.Join(root, "a")
	writeFile(t, filepath.Join(a, "main.go"))
	w := New(func(err error) { t.Log(err) })
	defer w.notify.Close()
	w.Set("trees", []string{root}, nil)
	w.mu.Lock()
	w.notify.Remove(a) // as the kernel does when the folder goes, and nobody hears of it
	w.mu.Unlock()
	w.rescan()
	w.wantWatched(t, root, a)
}

func TestWhereTheKernelCannotWatchWhatIsThereIsNoNews(t *testing.T) {
	root, lib := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(root, "a", "main.go"))
	writeFile(t, filepath.Join(lib, "lib.go"))
	w := New(func(error) {})
	w.notify.Close()
	w.notify = nil
	w.startPollingLocked(errors.New("blind"))
	w.Set("trees", []string{root}, nil)
	w.Set("paths", nil, []string{lib})
	if got := w.changedPaths(); len(got) != 0 {
		t.Errorf("reported are %v", got)
	}
	writeFile(t, filepath.Join(lib, "lib.go"))
	if got := w.changedPaths(); !slices.Equal(got, []string{filepath.Join(lib, "lib.go")}) {
		t.Errorf("reported are %v", got)
	}
}
