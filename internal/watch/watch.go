// Package watch tells which files may have changed.
//
// It is a thin layer over fsnotify, which knows neither folder trees nor what
// to do when the kernel gives up. The alternatives were looked at: polling
// everything finds a save late or costs a core, fanotify needs privileges,
// and a recursive watcher exists for no kernel that matters here. So folders
// are watched, not files, one watcher for the whole server; a new folder is
// watched before it is read, and what it already holds is reported; an
// overflow is reported as "anything"; and where the kernel cannot watch, or
// sees only a part, as on a network mount, the folders are compared with what
// they were, twice a second.
//
// Events are handed on as they come: what belongs to one save is for the
// reader to decide, because waiting would make every save late.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const pollEvery = 500 * time.Millisecond

// Watcher watches folders. Its methods may be called from any goroutine.
type Watcher struct {
	notify *fsnotify.Watcher // nil if the kernel has none to give
	remote func(dir string) string
	warn   func(error)

	mu    sync.Mutex          // guards all below
	trees []string            // watched with all below them
	flat  map[string]bool     // watched by themselves
	seen  map[string]string   // folders that are watched, and what notify knows them as: without links
	names map[string][]string // the other way round: a folder may be watched under several names
	blind bool                // the kernel cannot watch all of it: poll
	state map[string]stamp
	poked chan struct{} // there is something to poll
}

// stamp tells one state of a file from another.
type stamp struct {
	changed time.Time
	size    int64
	mode    fs.FileMode
}

// New returns a Watcher that watches nothing yet. If the kernel cannot watch,
// warn is told, once, and folders are polled.
func New(warn func(error)) *Watcher {
	w := &Watcher{remote: remote, warn: warn, flat: make(map[string]bool), seen: make(map[string]string), names: make(map[string][]string), poked: make(chan struct{}, 1)}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		w.goBlindLocked(fmt.Errorf("the kernel gives no watcher, raise fs.inotify.max_user_instances: %w", err))
	}
	return w
}

// Trees sets the folders that are watched with all below them. They need not
// exist: one that is missing is noticed when it comes.
func (w *Watcher) Trees(roots ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.trees
	w.trees = slices.Clone(roots)
	for _, root := range roots {
		w.reachLocked(root)
		w.addTreeLocked(root, nil)
		if w.blind && !slices.Contains(before, root) {
			noteTree(w.state, root) // what is there already is no news
		}
	}
}

// Add watches folders by themselves too. One that is missing is watched for
// where it would come.
func (w *Watcher) Add(dirs []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, dir := range dirs {
		if !w.flat[dir] {
			w.flat[dir] = true
			w.reachLocked(dir)
			if w.blind && !slices.ContainsFunc(w.trees, func(t string) bool { return below(dir, t) }) {
				noteFolder(w.state, dir)
			}
		}
	}
}

// Run hands on what may have changed until the context ends: absolute paths,
// or nil if that can be anything. A folder that came is followed by what it
// holds.
func (w *Watcher) Run(ctx context.Context, changed func(paths []string)) error {
	var events chan fsnotify.Event
	var failures chan error
	if w.notify != nil {
		defer w.notify.Close()
		events, failures = w.notify.Events, w.notify.Errors
	}
	var tick <-chan time.Time
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return errors.New("the watcher was closed")
			}
			if paths := w.batch(e); len(paths) > 0 {
				changed(paths)
			}
		case err := <-failures:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.warn(err)
			}
			w.rescan()
			changed(nil)
		case <-w.poked:
			ticker := time.NewTicker(pollEvery)
			defer ticker.Stop()
			tick = ticker.C
		case <-tick:
			if paths := w.compare(); len(paths) > 0 {
				changed(paths)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// batch takes all events that are there already.
func (w *Watcher) batch(e fsnotify.Event) []string {
	var paths []string
	for {
		paths = w.take(paths, e)
		select {
		case e = <-w.notify.Events:
		default:
			return paths
		}
	}
}

func (w *Watcher) take(paths []string, e fsnotify.Event) []string {
	if e.Name == "" {
		return paths
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.namesLocked(e.Name) {
		paths = w.noteLocked(paths, name, e.Op)
	}
	return paths
}

// namesLocked returns the names under which a path that notify knows is
// watched.
func (w *Watcher) namesLocked(path string) []string {
	names := slices.Clone(w.names[path])
	for _, dir := range w.names[filepath.Dir(path)] {
		if name := filepath.Join(dir, filepath.Base(path)); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (w *Watcher) noteLocked(paths []string, name string, op fsnotify.Op) []string {
	if op == fsnotify.Chmod {
		if info, err := os.Stat(name); err != nil || !info.IsDir() || w.seen[name] != "" {
			return paths
		}
		op = fsnotify.Create // a folder that could not be read before
	}
	paths = append(paths, name)
	if !op.Has(fsnotify.Create) && !op.Has(fsnotify.Remove) && !op.Has(fsnotify.Rename) {
		return paths
	}
	// What has this name now need not be what had it when the event was made,
	// nor what is watched under it.
	w.dropLocked(name)
	for _, wanted := range w.wantedLocked() {
		if below(wanted, name) {
			w.reachLocked(wanted)
			if wanted != name {
				paths = append(paths, wanted)
			}
			if w.flat[wanted] { // nobody watched it for a moment
				entries, _ := os.ReadDir(wanted)
				for _, d := range entries {
					paths = append(paths, filepath.Join(wanted, d.Name()))
				}
			}
		}
	}
	w.addTreeLocked(name, &paths) // last, or of a tree that came meanwhile only the root were watched
	return paths
}

// wantedLocked are the folders that were asked for by name.
func (w *Watcher) wantedLocked() []string {
	return slices.AppendSeq(slices.Clone(w.trees), maps.Keys(w.flat))
}

// reachLocked watches a folder and the one that holds it, so that its going
// and coming is seen, or as far down towards it as there is anything.
func (w *Watcher) reachLocked(dir string) {
	w.addLocked(existing(filepath.Dir(dir)))
	for at := ""; at != existing(dir); {
		at = existing(dir)
		w.addLocked(at)
	}
}

// addTreeLocked watches what is wanted of root and all below it, and appends
// what that holds to found.
func (w *Watcher) addTreeLocked(root string, found *[]string) {
	for _, t := range w.trees {
		switch {
		case below(root, t) && !hidden(t, root):
			w.addBelowLocked(root, root == t, found)
			return
		case below(t, root):
			w.addBelowLocked(t, true, found)
		}
	}
}

// addBelowLocked watches top and all below it. Links are not followed, but top
// may be one if it was asked for by name.
func (w *Watcher) addBelowLocked(top string, named bool, found *[]string) {
	if info, err := os.Lstat(top); err != nil || !info.IsDir() && !named {
		return
	}
	w.addLocked(top)
	fs.WalkDir(os.DirFS(top), ".", func(rel string, d fs.DirEntry, err error) error {
		if rel == "." {
			return nil
		}
		path := filepath.Join(top, rel)
		if err == nil && found != nil {
			*found = append(*found, path)
		}
		switch {
		case err != nil || !d.IsDir():
			return nil
		case skipped(d.Name()):
			return fs.SkipDir
		}
		w.addLocked(path)
		return nil
	})
}

func (w *Watcher) addLocked(dir string) {
	if w.notify == nil || w.seen[dir] != "" {
		return
	}
	real, err := filepath.EvalSymlinks(dir)
	if err == nil && len(w.names[real]) == 0 {
		err = w.notify.Add(real)
	}
	switch {
	case err == nil:
		w.seen[dir] = real
		w.names[real] = append(w.names[real], dir)
		if on := w.remote(real); on != "" {
			w.goBlindLocked(fmt.Errorf("%s lies on %s, and of what others change there the kernel says nothing", dir, on))
		}
	case errors.Is(err, syscall.ENOSPC):
		w.goBlindLocked(fmt.Errorf("the kernel's limit of watched folders is reached, raise fs.inotify.max_user_watches: %w", err))
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
		w.goBlindLocked(fmt.Errorf("watch %s: %w", dir, err))
	}
}

// dropLocked forgets a folder that went, and all below it.
func (w *Watcher) dropLocked(path string) {
	for name, real := range w.seen {
		if !below(name, path) {
			continue
		}
		delete(w.seen, name)
		w.names[real] = slices.DeleteFunc(w.names[real], func(n string) bool { return n == name })
		if len(w.names[real]) == 0 {
			delete(w.names, real)
			w.notify.Remove(real)
		}
	}
}

// rescan watches all of it anew: of what is watched nobody knows, after events
// were lost, whether it is what bears the name.
func (w *Watcher) rescan() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for real := range w.names {
		w.notify.Remove(real)
	}
	clear(w.seen)
	clear(w.names)
	for _, wanted := range w.wantedLocked() {
		w.reachLocked(wanted)
	}
	for _, root := range w.trees {
		w.addTreeLocked(root, nil)
	}
}

// goBlindLocked begins to poll.
func (w *Watcher) goBlindLocked(err error) {
	if w.blind {
		return
	}
	w.blind = true
	w.warn(err)
	w.state = w.statesLocked()
	w.poked <- struct{}{}
}

// compare returns what differs from the last time.
func (w *Watcher) compare() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.statesLocked()
	var paths []string
	for path, s := range now {
		if before, ok := w.state[path]; !ok || before != s {
			paths = append(paths, path)
		}
	}
	for path := range w.state {
		if _, ok := now[path]; !ok {
			paths = append(paths, path)
		}
	}
	w.state = now
	slices.Sort(paths)
	return paths
}

func (w *Watcher) statesLocked() map[string]stamp {
	states := make(map[string]stamp)
	for _, root := range w.trees {
		noteTree(states, root)
	}
	for dir := range w.flat {
		noteFolder(states, dir)
	}
	return states
}

func noteTree(states map[string]stamp, root string) {
	fs.WalkDir(os.DirFS(root), ".", func(rel string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if d.IsDir() && rel != "." && skipped(d.Name()) {
			return fs.SkipDir
		}
		note(states, filepath.Join(root, rel), d)
		return nil
	})
}

func noteFolder(states map[string]stamp, dir string) {
	entries, _ := os.ReadDir(dir)
	for _, d := range entries {
		note(states, filepath.Join(dir, d.Name()), d)
	}
}

func note(states map[string]stamp, path string, d fs.DirEntry) {
	info, err := d.Info()
	if err != nil {
		return
	}
	s := stamp{mode: info.Mode()}
	if !d.IsDir() {
		s.changed, s.size = info.ModTime(), info.Size()
	}
	states[path] = s
}

// skipped are folders in which nothing a page is made of can lie.
func skipped(name string) bool { return name[0] == '.' || name == "node_modules" }

// hidden reports whether path is a skipped folder below tree, or lies in one.
func hidden(tree, path string) bool {
	for ; path != tree; path = filepath.Dir(path) {
		if skipped(filepath.Base(path)) {
			return true
		}
	}
	return false
}

// below reports whether path is dir or lies below it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+string(filepath.Separator))
}

// existing returns dir, or the nearest folder above it that exists.
func existing(dir string) string {
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			break
		}
	}
	return dir
}
