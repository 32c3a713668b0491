package watch

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// stamp tells one state of a file from another.
type stamp struct {
	changed time.Time
	size    int64
	mode    fs.FileMode
}

// changedPaths returns what differs from the last time.
func (w *Watcher) changedPaths() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.stampsLocked()
	var paths []string
	for path, s := range now {
		if before, ok := w.stamps[path]; !ok || before != s {
			paths = append(paths, path)
		}
	}
	for path := range w.stamps {
		if _, ok := now[path]; !ok {
			paths = append(paths, path)
		}
	}
	w.stamps = now
	slices.Sort(paths)
	return paths
}

func (w *Watcher) stampsLocked() map[string]stamp {
	states := make(map[string]stamp)
	for _, asked := range w.interests {
		asked.addStamps(states)
	}
	return states
}

// addStamps adds the states of all that is watched for somebody, unless they are
// known.
func (asked interest) addStamps(states map[string]stamp) {
	for _, root := range asked.trees {
		addTreeStamps(states, root)
	}
	for _, path := range asked.paths {
		addStamp(states, path)
		entries, _ := os.ReadDir(path)
		for _, d := range entries {
			addStamp(states, filepath.Join(path, d.Name()))
		}
	}
}

func addTreeStamps(states map[string]stamp, root string) {
	fs.WalkDir(os.DirFS(root), ".", func(rel string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if d.IsDir() && rel != "." && isSkipped(d.Name()) {
			return fs.SkipDir
		}
		addStamp(states, filepath.Join(root, rel))
		return nil
	})
}

// addStamp adds the state of what a path leads to.
func addStamp(states map[string]stamp, path string) {
	if _, known := states[path]; known {
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		if info, err = os.Lstat(path); err != nil {
			return
		}
	}
	s := stamp{mode: info.Mode()}
	if !info.IsDir() {
		s.changed, s.size = info.ModTime(), info.Size()
	}
	states[path] = s
}
