package watch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder collects what a watcher reports.
type recorder struct {
	mu    sync.Mutex
	paths []string
	any   bool
	more  chan struct{}
}

func watchTree(t *testing.T, root string, prepare func(*Watcher)) (*Watcher, *recorder) {
	t.Helper()
	w := New(func(err error) { t.Log(err) })
	w.Set("trees", []string{root}, nil)
	if prepare != nil {
		prepare(w)
	}
	s := &recorder{more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { // ends with the context
		w.Run(ctx, func(paths []string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.paths = append(s.paths, paths...)
			s.any = s.any || paths == nil
			select {
			case s.more <- struct{}{}:
			default:
			}
		})
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return w, s
}

// want waits until all the paths were reported, and forgets what was.
func (s *recorder) want(t *testing.T, paths ...string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		s.mu.Lock()
		missing := slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return slices.Contains(s.paths, p) })
		if len(missing) == 0 {
			s.paths = nil
			s.mu.Unlock()
			return
		}
		got := slices.Clone(s.paths)
		s.mu.Unlock()
		select {
		case <-s.more:
		case <-deadline:
			t.Fatalf("not reported: %v\nreported: %v", missing, got)
		}
	}
}

func writeFile(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(time.Now().String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestEveryWayToSaveIsReported(t *testing.T) {
	for name, save := range map[string]func(t *testing.T, file string){
		"in place":     writeFile,
		"renamed over": func(t *testing.T, file string) { writeFile(t, file+"~"); rename(t, file+"~", file) },
		"removed and made again": func(t *testing.T, file string) {
			os.Remove(file)
			writeFile(t, file)
		},
		"linked": func(t *testing.T, file string) {
			writeFile(t, file+"2")
			os.Remove(file)
			os.Link(file+"2", file)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "a", "main.go")
			writeFile(t, file)
			_, s := watchTree(t, filepath.Dir(filepath.Dir(file)), nil)
			for range 3 {
				save(t, file)
				s.want(t, file)
			}
		})
	}
}

func TestANewFolderIsReportedWithAllItHolds(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(elsewhere, "n", "deep", "main.go"))
	_, s := watchTree(t, root, nil)
	rename(t, filepath.Join(elsewhere, "n"), filepath.Join(root, "n"))
	s.want(t, filepath.Join(root, "n"), filepath.Join(root, "n", "deep", "main.go"))
	writeFile(t, filepath.Join(root, "n", "deep", "main.go"))
	s.want(t, filepath.Join(root, "n", "deep", "main.go"))
}

func TestFilesMadeWithTheirFolderAreNeverMissed(t *testing.T) {
	root := t.TempDir()
	_, s := watchTree(t, root, nil)
	var want []string
	for i := range 50 {
		file := filepath.Join(root, string(rune('a'+i%26))+"x", "y", string(rune('a'+i/26))+".go")
		writeFile(t, file)
		want = append(want, file)
	}
	s.want(t, want...)
}

func TestARootThatGoesAndComesBackIsWatchedAgain(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "pages")
	writeFile(t, filepath.Join(root, "a", "main.go"))
	w, s := watchTree(t, root, nil)
	for range 3 {
		rename(t, root, root+".away")
		s.want(t, root)
		rename(t, root+".away", root)
		s.want(t, root, filepath.Join(root, "a", "main.go"))
		writeFile(t, filepath.Join(root, "a", "main.go"))
		s.want(t, filepath.Join(root, "a", "main.go"))
	}
	w.wantWatched(t, root, filepath.Join(root, "a"))
}

func TestARootThatDoesNotExistIsSeenToCome(t *testing.T) {
	for range 100 { // it comes in pieces, at any moment of being looked at
		root := filepath.Join(t.TempDir(), "x", "pages")
		_, s := watchTree(t, root, nil)
		writeFile(t, filepath.Join(root, "a", "main.go"))
		s.want(t, root)
		writeFile(t, filepath.Join(root, "a", "main.go"))
		s.want(t, filepath.Join(root, "a", "main.go"))
	}
}

func TestAFlatFolderIsWatchedByItself(t *testing.T) {
	root, lib := t.TempDir(), filepath.Join(t.TempDir(), "lib")
	writeFile(t, filepath.Join(lib, "lib.go"))
	_, s := watchTree(t, root, func(w *Watcher) { w.Set("paths", nil, []string{lib}) })
	writeFile(t, filepath.Join(lib, "lib.go"))
	s.want(t, filepath.Join(lib, "lib.go"))
	rename(t, lib, lib+".away")
	s.want(t, lib)
	rename(t, lib+".away", lib)
	s.want(t, lib)
	writeFile(t, filepath.Join(lib, "lib.go"))
	s.want(t, filepath.Join(lib, "lib.go"))
}

func TestAFlatFolderMayBeMissing(t *testing.T) {
	base := t.TempDir()
	lib := filepath.Join(base, "a", "b", "lib")
	_, s := watchTree(t, t.TempDir(), func(w *Watcher) { w.Set("paths", nil, []string{lib}) })
	writeFile(t, filepath.Join(lib, "lib.go"))
	s.want(t, lib)
	writeFile(t, filepath.Join(lib, "lib.go"))
	s.want(t, filepath.Join(lib, "lib.go"))
}

func TestHiddenFoldersAreNotWatched(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, ".git", "index"))
	writeFile(t, filepath.Join(root, "node_modules", "x", "y.js"))
	w, _ := watchTree(t, root, nil)
	w.wantWatched(t, root)
}

func TestAnOverflowMeansAnything(t *testing.T) {
	root := t.TempDir()
	w, s := watchTree(t, root, nil)
	w.notify.Errors <- fsnotify.ErrEventOverflow
	<-s.more
	s.mu.Lock()
	any := s.any
	s.mu.Unlock()
	if !any {
		t.Error("an overflow is not reported")
	}
	writeFile(t, filepath.Join(root, "new", "main.go"))
	s.want(t, filepath.Join(root, "new", "main.go"))
}

func TestWhereTheKernelCannotWatchFoldersAreCompared(t *testing.T) {
	root, lib := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(root, "old.go"))
	_, s := watchTree(t, root, func(w *Watcher) {
		w.Set("paths", nil, []string{lib})
		w.mu.Lock()
		defer w.mu.Unlock()
		w.startPollingLocked(errors.New("blind"))
		w.notify.Close()
		w.notify = nil
	})
	writeFile(t, filepath.Join(root, "n", "main.go"))
	writeFile(t, filepath.Join(lib, "lib.go"))
	os.Remove(filepath.Join(root, "old.go"))
	s.want(t, filepath.Join(root, "n"), filepath.Join(root, "n", "main.go"), filepath.Join(lib, "lib.go"), filepath.Join(root, "old.go"))
}

func TestAMountThatOthersChangeIsPolled(t *testing.T) {
	root := t.TempDir()
	share := filepath.Join(root, "share")
	writeFile(t, filepath.Join(share, "main.go"))
	var warned []string
	w := New(func(err error) { warned = append(warned, err.Error()) })
	defer w.notify.Close()
	w.remote = func(dir string) string {
		if dir == share {
			return "NFS"
		}
		return ""
	}
	w.Set("trees", []string{root}, nil)
	if want := []string{share + " is on NFS, where the kernel does not report what other machines change"}; !slices.Equal(warned, want) || !w.polling {
		t.Errorf("warned of %q, want %q", warned, want)
	}
	writeFile(t, filepath.Join(share, "main.go"))
	if got := w.changedPaths(); !slices.Contains(got, filepath.Join(share, "main.go")) {
		t.Errorf("reported are %v", got)
	}
}

func TestAChangeOfModeIsReportedOfWhatCouldNotBeRead(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file, other, deep := filepath.Join(root, "main.go"), filepath.Join(root, "other.go"), filepath.Join(root, "dir", "deep.go")
	for _, f := range []string{file, other, deep} {
		writeFile(t, f)
	}
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(file, 0)
	chmod(filepath.Dir(deep), 0o600)
	w, s := watchTree(t, root, nil)
	w.AwaitReadable([]string{file, deep})
	chmod(other, 0)
	chmod(other, 0o644)
	chmod(file, 0o644)
	s.want(t, file)
	chmod(filepath.Dir(deep), 0o700)
	s.want(t, deep)
	// It is news once.
	chmod(file, 0o600)
	chmod(filepath.Dir(deep), 0o755)
	writeFile(t, other)
	var got []string
	for deadline := time.After(time.Minute); !slices.Contains(got, other); {
		select {
		case <-s.more:
		case <-deadline:
			t.Fatalf("not reported: %s", other)
		}
		s.mu.Lock()
		got = slices.Clone(s.paths)
		s.mu.Unlock()
	}
	for _, path := range got {
		if path != other {
			t.Errorf("reported: %s", path)
		}
	}
}

// TestAWatcherThatTheKernelEndsPolls closes what reads the kernel's events, as an
// error of the kernel does.
func TestAWatcherThatTheKernelEndsPolls(t *testing.T) {
	root := t.TempDir()
	_, seen := watchTree(t, root, func(w *Watcher) { w.notify.Close() })
	file := filepath.Join(root, "a.go")
	for done := false; !done; { // until the watcher polls, it may miss the first one
		writeFile(t, file)
		select {
		case <-seen.more:
			seen.mu.Lock()
			done = slices.Contains(seen.paths, file)
			seen.mu.Unlock()
		case <-time.After(2 * pollEvery):
		}
	}
}
