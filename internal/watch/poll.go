package watch

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// stamp identifies one state of a file.
type stamp struct {
	modified time.Time
	size     int64
	mode     fs.FileMode
}

// changedPaths returns the paths whose stamps differ from those of the last call.
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
	stamps := make(map[string]stamp)
	for _, i := range w.interests {
		i.addStamps(stamps)
	}
	return stamps
}

// addStamps adds the stamps of all files and folders of an interest.
func (i interest) addStamps(stamps map[string]stamp) {
	for _, root := range i.trees {
		addTreeStamps(stamps, root)
	}
	for _, path := range i.paths {
		addStamp(stamps, path)
		entries, _ := os.ReadDir(path)
		for _, d := range entries {
			addStamp(stamps, filepath.Join(path, d.Name()))
		}
	}
}

func addTreeStamps(stamps map[string]stamp, root string) {
	fs.WalkDir(os.DirFS(root), ".", func(rel string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if d.IsDir() && rel != "." && isSkipped(d.Name()) {
			return fs.SkipDir
		}
		addStamp(stamps, filepath.Join(root, rel))
		return nil
	})
}

// addStamp adds the stamp of a path, with links followed, unless there is one.
func addStamp(stamps map[string]stamp, path string) {
	if _, known := stamps[path]; known {
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
		s.modified, s.size = info.ModTime(), info.Size()
	}
	stamps[path] = s
}
