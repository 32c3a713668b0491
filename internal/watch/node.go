package watch

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// node is a path that matters: it was set, it lies in a tree that was set, or it is
// on the way to such a path.
type node struct {
	path     string
	parent   *node            // nil for the root
	children map[string]*node // by name

	trees, paths int    // how many interests name it, as a tree and as a path
	real         string // the path that the kernel watches; empty for none
	open         bool   // its entries matter
	deep         bool   // and everything below them
	entry        bool   // it is an entry of an open folder

	target *node   // what the link points to; nil if it is no link
	links  []*node // links that point here
}

// wanted reports whether an interest names the path.
func (n *node) wanted() bool { return n != nil && n.trees+n.paths > 0 }

// nodeLocked returns the node of a path, and adds it if there is none.
func (w *Watcher) nodeLocked(path string) *node {
	n := w.root
	for name := range strings.SplitSeq(filepath.Clean(path), string(filepath.Separator)) {
		if name == "" {
			continue
		}
		child := n.children[name]
		if child == nil {
			child = &node{path: filepath.Join(n.path, name), parent: n}
			if n.children == nil {
				n.children = make(map[string]*node)
			}
			n.children[name] = child
		}
		n = child
	}
	return n
}

// watchWayLocked watches each folder on the way to a path, from the root, as far as
// they exist.
func (w *Watcher) watchWayLocked(n *node) {
	if n.parent == nil {
		return
	}
	w.watchWayLocked(n.parent)
	w.watchLocked(n.parent)
	w.followLocked(n)
}

// followLocked watches the way to the target of a link.
func (w *Watcher) followLocked(n *node) {
	if n.target != nil {
		return
	}
	to, err := os.Readlink(n.path)
	if err != nil {
		return
	}
	if !filepath.IsAbs(to) {
		dir, err := filepath.EvalSymlinks(filepath.Dir(n.path)) // a .. in the link counts from there
		if err != nil {
			return
		}
		to = filepath.Join(dir, to)
	}
	n.target = w.nodeLocked(to)
	n.target.links = append(n.target.links, n)
	w.watchWayLocked(n.target)
}

// openLocked watches the entries of a wanted path, if it is a folder, and adds them
// to the report.
func (w *Watcher) openLocked(n *node, r *report) {
	w.openFolderLocked(n, n.inTree(), r)
}

// openFolderLocked watches a folder and then reads it, in this order, so that it
// misses no entry. If deep, it watches all folders below too. It does not walk into
// folders behind links.
func (w *Watcher) openFolderLocked(n *node, deep bool, r *report) {
	if n.open && (n.deep || !deep) {
		return
	}
	w.watchLocked(n)
	entries, err := os.ReadDir(n.path)
	if err != nil {
		return // it is a file, missing or unreadable
	}
	n.open, n.deep = true, deep
	w.checkRemoteLocked(n)
	for _, d := range entries {
		r.add(filepath.Join(n.path, d.Name()))
		w.entryLocked(n, d, r)
	}
}

// entryLocked watches an entry of an open folder, if it is a link, or a folder in a
// tree.
func (w *Watcher) entryLocked(dir *node, d fs.DirEntry, r *report) {
	link := d.Type()&fs.ModeSymlink != 0
	if !link && (!d.IsDir() || !dir.deep || isSkipped(d.Name())) {
		return
	}
	n := w.nodeLocked(filepath.Join(dir.path, d.Name()))
	n.entry = true
	if link {
		w.followLocked(n)
	} else {
		w.openFolderLocked(n, true, r)
	}
}

// releaseLocked stops watching what no interest needs any more, of a path and
// everything below it.
func (w *Watcher) releaseLocked(path string) {
	n := w.nodeLocked(path)
	deep := n.inTree()
	if !n.open || n.open == (deep || n.wanted()) && n.deep == deep {
		w.pruneLocked(n)
		return
	}
	below := n.belowLocked(nil)
	for _, b := range below {
		b.open, b.deep = false, false
	}
	for _, b := range below {
		b.entry = b.entry && b.parent.open
	}
	for _, b := range below {
		if b.wanted() {
			w.openLocked(b, nil)
		}
	}
	for _, b := range slices.Backward(below) {
		w.pruneLocked(b)
	}
}

// inTree reports whether a path is the root of a tree, or lies in one.
func (n *node) inTree() bool {
	return n.trees > 0 || n.parent != nil && n.parent.deep && !isSkipped(filepath.Base(n.path))
}

// refreshLocked reads a path in a folder anew, and everything that was watched by way
// of it. n is the node of the path, or nil.
func (w *Watcher) refreshLocked(r *report, dir, n *node, path string) {
	if n == nil {
		w.addEntryLocked(dir, path, r)
		return
	}
	affected := n.affectedLocked()
	for _, a := range slices.Backward(affected) {
		w.forgetLocked(a)
	}
	w.restoreLocked(r, affected)
}

// affectedLocked returns a node, all nodes below it, the links that point to any of
// them, all nodes below those, and so on. Each comes after those above it.
func (n *node) affectedLocked() (all []*node) {
	seen := make(map[*node]bool)
	for queue := []*node{n}; len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] {
			continue
		}
		for _, b := range queue[0].belowLocked(nil) {
			if !seen[b] {
				seen[b] = true
				all = append(all, b)
				queue = append(queue, b.links...)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *node) int { return len(a.path) - len(b.path) })
	return all
}

// belowLocked appends a node and all nodes below it, from the top.
func (n *node) belowLocked(all []*node) []*node {
	all = append(all, n)
	for _, child := range n.children {
		all = child.belowLocked(all)
	}
	return all
}

// linkedLocked returns the links that lead to a node, directly or by other links, and
// are wanted or entries themselves.
func (n *node) linkedLocked() (all []*node) {
	for queue := slices.Clone(n.links); len(queue) > 0; queue = queue[1:] {
		if link := queue[0]; link != n && !slices.Contains(all, link) {
			all = append(all, link)
			queue = append(queue, link.links...)
		}
	}
	return slices.DeleteFunc(all, func(link *node) bool { return !link.wanted() && !link.entry })
}

// forgetLocked forgets what was at a path, but not the interests in it.
func (w *Watcher) forgetLocked(n *node) {
	w.unwatchLocked(n)
	n.open, n.deep = false, false
	if n.target != nil {
		target := n.target
		n.target = nil
		target.links = slices.DeleteFunc(target.links, func(link *node) bool { return link == n })
		w.pruneLocked(target)
	}
}

// restoreLocked watches what is at forgotten paths now, and adds it to the report
// with its entries.
func (w *Watcher) restoreLocked(r *report, forgotten []*node) {
	for _, n := range forgotten {
		n.entry = false
		if n.wanted() {
			r.add(n.path)
			w.watchWayLocked(n)
			w.openLocked(n, r)
		}
		if n.parent != nil && n.parent.open {
			r.add(n.path)
			w.addEntryLocked(n.parent, n.path, r)
		}
	}
	for _, n := range slices.Backward(forgotten) {
		w.pruneLocked(n)
	}
}

// addEntryLocked adds a path as an entry of an open folder, if it exists.
func (w *Watcher) addEntryLocked(dir *node, path string, r *report) {
	if info, err := os.Lstat(path); err == nil {
		w.entryLocked(dir, fs.FileInfoToDirEntry(info), r)
	}
}

// pruneLocked drops a node that nothing needs, and then those above it.
func (w *Watcher) pruneLocked(n *node) {
	for ; n.parent != nil && !n.wanted() && !n.entry && len(n.children)+len(n.links) == 0; n = n.parent {
		if n.parent.children[filepath.Base(n.path)] != n {
			return // dropped already
		}
		delete(n.parent.children, filepath.Base(n.path))
		w.forgetLocked(n)
	}
}

// isSkipped reports whether a folder of this name cannot hold anything that a page is
// built from.
func isSkipped(name string) bool { return name[0] == '.' || name == "node_modules" }
