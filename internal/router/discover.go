// Package router knows which folder answers under which route.
//
// Discover reads the pages directory; Table finds the route of a request. The package
// starts no goroutines and keeps no state.
package router

import (
	"bytes"
	"errors"
	"fmt"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"tqserver/internal/project"
)

// Public is the folder inside a page's folder whose files are served as they are.
const Public = "public"

// A Page is a folder that answers under a route.
type Page struct {
	Route string
	Dir   string // absolute
}

// A Conflict is a route that more than one folder defines.
type Conflict struct {
	Route string
	Dirs  []string // sorted, absolute
}

// A Discovery is what Discover found.
type Discovery struct {
	Pages     []Page     // by route, without those in conflict
	Conflicts []Conflict // by route
	// Unreadable holds the folders, absolute, that could not be read, and why.
	// Pages below them may still exist.
	Unreadable map[string]error
}

// Discover returns the pages under root: every folder below it that holds a Go
// main package. A folder whose only Go files are half-saved counts as one, so
// that a page does not vanish while it is being written.
//
// Nothing is a page below a folder that begins with a dot or an underscore or
// is called internal, node_modules, testdata or vendor, nor in the [Public]
// folder of a page. Links to folders are not followed, but root itself may be
// one. A file that vanishes meanwhile is no error.
//
// The context decides which files belong to a build, by its tags. A file that
// imports C counts even without cgo; the build then reports what is missing.
//
// An error means that root itself could not be read; it wraps fs.ErrNotExist if
// there is none.
func Discover(root string, ctx build.Context) (Discovery, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return Discovery{}, fmt.Errorf("discover pages: %w", err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return Discovery{}, fmt.Errorf("discover pages: %w", err)
	}

	w := walk{ctx: ctx, dirs: make(map[string][]string), unreadable: make(map[string]error)}
	w.descend(root, "/", entries)
	return w.discovery(), nil
}

// IsPage reports whether Discover would find dir, a folder below root. An error means
// that it could not be read.
func IsPage(root, dir string, ctx build.Context) (bool, error) {
	w := walk{ctx: ctx}
	rel, ok := project.Rel(root, dir)
	if !ok || rel == "." {
		return false, nil
	}
	at := root
	for name := range strings.SplitSeq(rel, string(filepath.Separator)) {
		if name == Public {
			if page, err := w.isPageFolder(at); page || err != nil {
				return false, err
			}
		}
		at = filepath.Join(at, name)
		if info, err := os.Lstat(at); isSkipped(name) || err != nil || !info.IsDir() {
			return false, nil
		}
	}
	return w.isPageFolder(dir)
}

// isPageFolder reads a folder and reports whether its Go files make it a page.
func (w *walk) isPageFolder(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return w.isPage(dir, entries)
}

// A walk collects what Discover finds.
type walk struct {
	ctx        build.Context
	dirs       map[string][]string // by route
	unreadable map[string]error
}

// descend visits the folders among the entries of dir, which is place below the pages
// directory.
func (w *walk) descend(dir, place string, entries []fs.DirEntry) {
	for _, e := range entries {
		if e.IsDir() && !isSkipped(e.Name()) {
			w.visit(filepath.Join(dir, e.Name()), path.Join(place, e.Name()))
		}
	}
}

func (w *walk) visit(dir, place string) {
	entries, err := os.ReadDir(dir)
	if isGone(err) {
		return
	}
	if err != nil {
		w.unreadable[dir] = err
		return
	}
	page, err := w.isPage(dir, entries)
	if err != nil {
		w.unreadable[dir] = err
	}
	if page {
		route := place
		if path.Base(route) == "index" {
			route = path.Dir(route)
		}
		w.dirs[route] = append(w.dirs[route], dir)
	}
	if page || err != nil { // with an error it may be a page
		entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == Public })
	}
	w.descend(dir, place, entries)
}

func (w *walk) discovery() Discovery {
	d := Discovery{Unreadable: w.unreadable}
	for route, dirs := range w.dirs {
		if len(dirs) == 1 {
			d.Pages = append(d.Pages, Page{Route: route, Dir: dirs[0]})
			continue
		}
		slices.Sort(dirs)
		d.Conflicts = append(d.Conflicts, Conflict{Route: route, Dirs: dirs})
	}
	slices.SortFunc(d.Pages, func(a, b Page) int { return strings.Compare(a.Route, b.Route) })
	slices.SortFunc(d.Conflicts, func(a, b Conflict) int { return strings.Compare(a.Route, b.Route) })
	return d
}

// isSkipped reports whether a folder of this name, and everything below it, cannot be
// a page.
func isSkipped(name string) bool {
	switch name {
	case "internal", "node_modules", "testdata", "vendor":
		return true
	}
	return isHidden(name)
}

// isHidden reports whether the go command ignores files and folders of this name.
func isHidden(name string) bool {
	return strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".")
}

// isGone reports whether err means that a file does not exist any more.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// isPage reports whether the Go files among the entries of dir make it a page.
// An error means that a file cannot be read, and that no other makes it a page.
func (w *walk) isPage(dir string, entries []fs.DirEntry) (bool, error) {
	var broken, library bool
	var unread error
	for _, e := range entries {
		name := e.Name()
		if isHidden(name) || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		pkg, err := w.packageName(dir, name)
		switch {
		case err != nil:
			unread = err
		case pkg == "":
		case pkg == "main":
			// If there is another package beside it, that is a mistake, and the
			// build reports it better than a missing page would.
			return true, nil
		case pkg == brokenName:
			broken = true
		default:
			library = true
		}
	}
	return broken && !library && unread == nil, unread
}

// brokenName stands for a package clause that cannot be parsed. No package has this
// name.
const brokenName = "?"

// packageName returns the name of a Go file's package: brokenName if it cannot be
// parsed, and nothing if the file does not belong to the build. An error means that
// the file exists and cannot be read.
func (w *walk) packageName(dir, name string) (string, error) {
	file := filepath.Join(dir, name)
	src, err := readRegular(file)
	if isGone(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}

	ctx := w.ctx
	ctx.OpenFile = func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(src)), nil
	}
	match, err := ctx.MatchFile(dir, name)
	if err == nil && !match && !ctx.CgoEnabled {
		ctx.CgoEnabled = true
		match, err = ctx.MatchFile(dir, name)
	}
	if err != nil {
		return brokenName, nil
	}
	if !match {
		return "", nil
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.PackageClauseOnly)
	if err != nil {
		return brokenName, nil
	}
	return f.Name.Name, nil
}

// readRegular returns the content of file. If it is neither a regular file nor a link
// to one, it counts as missing: opening a FIFO would wait for its writer.
func readRegular(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return os.ReadFile(file)
}
