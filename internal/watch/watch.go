// Package watch reports which files may have changed.
//
// It is a thin layer over fsnotify, which supports neither folder trees nor
// kernels that give up. The alternatives are worse: polling everything finds a
// save late or costs a core, fanotify needs privileges, and no kernel that matters
// here has a recursive watcher. So one watcher for the whole server watches
// folders, not files. It watches a new folder before it reads it, and reports what
// the folder already holds. It reports an overflow as "anything". Where the kernel
// cannot watch, or sees only a part of the changes, as on a network mount, it
// compares the folders twice a second.
//
// A path means whatever it leads to at the moment. Each folder on the way to it is
// watched too, and those on the way to the targets of links. Of these only the names
// on the way matter: no other change in them leaves this package. Paths are kept as
// a tree of nodes (node.go), so an event costs what it touches, however much is
// watched.
//
// Events are passed on as they come. The reader decides which of them belong to one
// save, because waiting would make every save late.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"tqserver/internal/project"
)

const pollEvery = 500 * time.Millisecond

// Watcher watches files and folders. Its methods may be called from any
// goroutine.
type Watcher struct {
	notify *fsnotify.Watcher // nil if the kernel has none to give
	remote func(dir string) string
	warn   func(error)

	mu             sync.Mutex // guards all below
	interests      map[string]interest
	root           *node              // of all paths that matter
	names          map[string][]*node // by path without links; a folder may have several names
	unreadable     map[string]bool    // files to report when they become readable
	polling        bool               // the kernel cannot watch everything
	stamps         map[string]stamp   // of the last comparison
	pollingStarted chan struct{}      // holds one: polling is true now
}

// interest is what Set has set for one name.
type interest struct{ trees, paths []string }

// New returns a Watcher that watches nothing yet. If the kernel cannot watch
// something, the Watcher calls warn once, and polls.
func New(warn func(error)) *Watcher {
	w := &Watcher{
		remote: remote, warn: warn, interests: make(map[string]interest), root: &node{path: string(filepath.Separator)},
		names: make(map[string][]*node), unreadable: make(map[string]bool), pollingStarted: make(chan struct{}, 1),
	}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		w.startPollingLocked(fmt.Errorf("cannot create a file watcher: raise fs.inotify.max_user_instances: %w", err))
	}
	return w
}

// Set sets what is watched under a name, instead of what was set before: trees are
// folders with everything below them, paths are files, and folders with their
// entries. All are absolute. A path that does not exist is reported when it
// appears.
func (w *Watcher) Set(name string, trees, paths []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, now := w.interests[name], interest{slices.Clone(trees), slices.Clone(paths)}
	if slices.Equal(before.trees, now.trees) && slices.Equal(before.paths, now.paths) {
		return
	}
	w.interests[name] = now
	if len(trees)+len(paths) == 0 {
		delete(w.interests, name)
	}
	for _, path := range trees {
		n := w.nodeLocked(path)
		n.trees++
		w.watchWayLocked(n)
		w.openLocked(n, nil)
	}
	for _, path := range paths {
		n := w.nodeLocked(path)
		n.paths++
		w.watchWayLocked(n)
		w.openLocked(n, nil)
	}
	if w.polling { // existing files are no changes
		now.addStamps(w.stamps)
	}
	for _, path := range before.trees {
		w.nodeLocked(path).trees--
		w.releaseLocked(path)
	}
	for _, path := range before.paths {
		w.nodeLocked(path).paths--
		w.releaseLocked(path)
	}
}

// AwaitReadable reports files that cannot be read now as soon as they can. Otherwise
// a change of mode is no change. The files must lie below watched folders.
func (w *Watcher) AwaitReadable(files []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, file := range files {
		w.unreadable[file] = true
	}
}

// reportReadableLocked reports the awaited files at or below path, whose mode has
// changed, that can be read now.
func (w *Watcher) reportReadableLocked(r *report, path string) {
	for file := range w.unreadable {
		if project.Contains(path, file) && syscall.Access(file, readable) == nil {
			delete(w.unreadable, file)
			r.add(file)
		}
	}
}

const readable = 4 // R_OK of access(2)

// Run calls changed with absolute paths that may have changed, or nil for any path,
// until the context ends. A new folder is followed by its entries.
func (w *Watcher) Run(ctx context.Context, changed func(paths []string)) {
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
				events, failures = nil, nil
				w.startPolling(errors.New("the kernel has stopped reporting changes"))
				changed(nil)
				continue
			}
			if paths := w.batch(e); len(paths) > 0 {
				changed(paths)
			}
		case err, ok := <-failures:
			if !ok {
				failures = nil // events is closed too
				continue
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.warn(err)
			}
			w.rescan()
			changed(nil)
		case <-w.pollingStarted:
			ticker := time.NewTicker(pollEvery)
			defer ticker.Stop()
			tick = ticker.C
		case <-tick:
			if paths := w.changedPaths(); len(paths) > 0 {
				changed(paths)
			}
		case <-ctx.Done():
			return
		}
	}
}

// batch handles an event and all others that have already come, and returns the
// paths.
func (w *Watcher) batch(e fsnotify.Event) []string {
	var r report
	for {
		w.handle(&r, e)
		var ok bool
		select {
		case e, ok = <-w.notify.Events:
		default:
		}
		if !ok {
			return r.paths
		}
	}
}

// report collects paths that may have changed, each once.
type report struct {
	paths []string
	known map[string]bool
}

func (r *report) add(path string) {
	if r == nil || r.known[path] {
		return
	}
	if r.known == nil {
		r.known = make(map[string]bool)
	}
	r.known[path] = true
	r.paths = append(r.paths, path)
}

func (w *Watcher) handle(r *report, e fsnotify.Event) {
	if e.Name == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	dir, name := filepath.Dir(e.Name), filepath.Base(e.Name)
	for _, n := range slices.Clone(w.names[dir]) {
		w.handleLocked(r, n, name, e.Op)
	}
	for _, n := range slices.Clone(w.names[e.Name]) { // its parent may be watched under another name, or not at all
		if n.parent != nil {
			w.handleLocked(r, n.parent, filepath.Base(n.path), e.Op)
		}
	}
}

// handleLocked handles an event of a name in a folder.
func (w *Watcher) handleLocked(r *report, dir *node, name string, op fsnotify.Op) {
	n := dir.children[name]
	path := filepath.Join(dir.path, name)
	if op == fsnotify.Chmod {
		w.reportReadableLocked(r, path)
	}
	if n == nil && !dir.open {
		return // the folder is only on the way to another path
	}
	if op == fsnotify.Chmod {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() || n != nil && n.real != "" && !isUnreadableDir(path) {
			return
		}
		op = fsnotify.Create // a folder became readable, or unreadable
	}
	if dir.open || n.wanted() {
		r.add(path)
	}
	switch {
	case op.Has(fsnotify.Create) || op.Has(fsnotify.Remove) || op.Has(fsnotify.Rename):
		// The file of this name may have been replaced since the event, and need not
		// be the one that is watched under it.
		w.refreshLocked(r, dir, n, path)
	case n != nil:
		for _, link := range n.linkedLocked() {
			r.add(link.path)
		}
	}
}

// isUnreadableDir reports whether the permission to read a folder is missing.
func isUnreadableDir(path string) bool {
	dir, err := os.Open(path)
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	dir.Close()
	return false
}

// rescan watches everything anew. After events were lost, any watched file may have
// been replaced.
func (w *Watcher) rescan() {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.root.affectedLocked()
	for _, n := range slices.Backward(all) {
		w.forgetLocked(n)
	}
	w.restoreLocked(nil, all)
}

func (w *Watcher) startPolling(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.startPollingLocked(err)
}

// startPollingLocked starts to poll, because of err.
func (w *Watcher) startPollingLocked(err error) {
	if w.polling {
		return
	}
	w.polling = true
	w.warn(err)
	w.stamps = w.stampsLocked()
	w.pollingStarted <- struct{}{}
}

// watchLocked asks the kernel to watch a folder.
func (w *Watcher) watchLocked(n *node) {
	if w.notify == nil || n.real != "" {
		return
	}
	w.followLocked(n)
	real, err := filepath.EvalSymlinks(n.path)
	if err == nil {
		var info fs.FileInfo
		if info, err = os.Stat(real); err == nil && !info.IsDir() {
			return
		}
	}
	if err == nil && len(w.names[real]) == 0 {
		err = w.notify.Add(real)
	}
	switch {
	case err == nil:
		n.real = real
		w.names[real] = append(w.names[real], n)
	case errors.Is(err, syscall.ENOSPC):
		w.startPollingLocked(fmt.Errorf("the kernel's limit of watched folders is reached: raise fs.inotify.max_user_watches: %w", err))
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.ELOOP):
		w.startPollingLocked(fmt.Errorf("watch %s: %w", n.path, err))
	}
}

// unwatchLocked stops watching a folder, unless it is watched under another name.
func (w *Watcher) unwatchLocked(n *node) {
	if n.real == "" {
		return
	}
	w.names[n.real] = slices.DeleteFunc(w.names[n.real], func(other *node) bool { return other == n })
	if len(w.names[n.real]) == 0 {
		delete(w.names, n.real)
		w.notify.Remove(n.real)
	}
	n.real = ""
}

// checkRemoteLocked starts to poll if another machine may change a folder.
func (w *Watcher) checkRemoteLocked(n *node) {
	if on := w.remote(n.path); on != "" {
		w.startPollingLocked(fmt.Errorf("%s is on %s, where the kernel does not report what other machines change", n.path, on))
	}
}
