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
// A path means whatever it leads to at the moment. Each folder on the way to
// it is watched too, and those on the way to what links on it lead to, but of
// these only the names that the way goes through matter: nothing else that
// happens there leaves this package. All of that is a tree of nodes by path
// (node.go), so that an event costs what it touches, however much is watched.
//
// Events are handed on as they come: what belongs to one save is for the
// reader to decide, because waiting would make every save late.
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
	names          map[string][]*node // folders as notify knows them, without links: one may have several names
	unreadable     map[string]bool    // files that could not be read
	polling        bool               // the kernel cannot watch all of it: poll
	stamps         map[string]stamp
	pollingStarted chan struct{} // there is something to poll
}

// interest is what is watched for somebody.
type interest struct{ trees, paths []string }

// New returns a Watcher that watches nothing yet. If the kernel cannot watch,
// warn is told, once, and folders are polled.
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

// Set sets what is watched for somebody, in place of what was before: trees are
// folders with all below them, paths are files, and folders with what they hold.
// All are absolute. They need not exist: what is missing is noticed when it
// comes. What nobody wants any more is not watched.
func (w *Watcher) Set(who string, trees, paths []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, now := w.interests[who], interest{slices.Clone(trees), slices.Clone(paths)}
	if slices.Equal(before.trees, now.trees) && slices.Equal(before.paths, now.paths) {
		return
	}
	w.interests[who] = now
	if len(trees)+len(paths) == 0 {
		delete(w.interests, who)
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
	if w.polling { // what is there already is no news
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

// AwaitReadable has files reported when they can be read, which they could not: of all
// others a change of their mode means nothing. They are below what is watched.
func (w *Watcher) AwaitReadable(files []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, file := range files {
		w.unreadable[file] = true
	}
}

// reportReadableLocked reports the files that were awaited and can be read now, if it is
// the mode of path that changed.
func (w *Watcher) reportReadableLocked(r *report, path string) {
	for file := range w.unreadable {
		if project.Contains(path, file) && syscall.Access(file, readable) == nil {
			delete(w.unreadable, file)
			r.add(file)
		}
	}
}

const readable = 4 // R_OK of access(2)

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
		case <-w.pollingStarted:
			ticker := time.NewTicker(pollEvery)
			defer ticker.Stop()
			tick = ticker.C
		case <-tick:
			if paths := w.changedPaths(); len(paths) > 0 {
				changed(paths)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// batch takes all events that are there already.
func (w *Watcher) batch(e fsnotify.Event) []string {
	var r report
	for {
		w.handle(&r, e)
		select {
		case e = <-w.notify.Events:
		default:
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
	for _, n := range slices.Clone(w.names[e.Name]) { // who holds it may be watched under another name, or by nobody
		if n.parent != nil {
			w.handleLocked(r, n.parent, filepath.Base(n.path), e.Op)
		}
	}
}

// handleLocked notes that something happened to a name in a folder.
func (w *Watcher) handleLocked(r *report, dir *node, name string, op fsnotify.Op) {
	n := dir.children[name]
	path := filepath.Join(dir.path, name)
	if op == fsnotify.Chmod {
		w.reportReadableLocked(r, path)
	}
	if n == nil && !dir.open {
		return // the folder is only on the way to something else
	}
	if op == fsnotify.Chmod {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() || n != nil && n.real != "" && !isUnreadableDir(path) {
			return
		}
		op = fsnotify.Create // a folder that can be read at last, or not any more
	}
	if dir.open || n.wanted() {
		r.add(path)
	}
	switch {
	case op.Has(fsnotify.Create) || op.Has(fsnotify.Remove) || op.Has(fsnotify.Rename):
		// What has this name now need not be what had it when the event was made,
		// nor what is watched under it.
		w.refreshLocked(r, dir, n, path)
	case n != nil:
		for _, link := range n.linkedLocked() {
			r.add(link.path)
		}
	}
}

// isUnreadableDir reports whether a folder may not be read.
func isUnreadableDir(path string) bool {
	dir, err := os.Open(path)
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	dir.Close()
	return false
}

// rescan watches all of it anew: of what is watched nobody knows, after events
// were lost, whether it is what bears the name.
func (w *Watcher) rescan() {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.root.affectedLocked()
	for _, n := range slices.Backward(all) {
		w.forgetLocked(n)
	}
	w.restoreLocked(nil, all)
}

// startPollingLocked begins to poll.
func (w *Watcher) startPollingLocked(err error) {
	if w.polling {
		return
	}
	w.polling = true
	w.warn(err)
	w.stamps = w.stampsLocked()
	w.pollingStarted <- struct{}{}
}

// watchLocked has the kernel watch a folder.
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

// unwatchLocked has the kernel watch a folder no more, unless that has another
// name.
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

// checkRemoteLocked polls if others change a folder too.
func (w *Watcher) checkRemoteLocked(n *node) {
	if on := w.remote(n.path); on != "" {
		w.startPollingLocked(fmt.Errorf("%s is on %s, where the kernel does not report what other machines change", n.path, on))
	}
}
