// Package router knows which folder answers under which route.
//
// Discover reads the pages directory; Table finds the route of a request. Both
// are plain functions of what they are given: the package starts no goroutines
// and keeps nothing.
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

// Public is the folder inside a page's whose files are served as they are.
const Public = "public"

// A Page is a folder that answers under a route.
type Page struct {
	Route string
	Dir   string // absolute
}

// A Conflict is a route that more than one folder asks for.
type Conflict struct {
	Route string
	Dirs  []string // sorted, absolute
}

// A Discovery is what Discover found.
type Discovery struct {
	Pages     []Page     // by route, without those in conflict
	Conflicts []Conflict // by route
	// Unreadable holds the folders, absolute, whose content could not be read,
	// and why. What lies below them is unknown, not gone.
	Unreadable map[string]error
}

// Discover returns the pages under root: every folder below it that holds a Go
// main package. A folder whose only Go files are half-saved counts as one, so
// that a page does not vanish while it is being written.
//
// Nothing is a page below a folder that begins with a dot or an underscore or
// is called internal, node_modules, testdata or vendor, nor in the [Public]
// folder of a page. Links to folders are not followed, but root itself may be
// one. What vanishes meanwhile is no error.
//
// The context says which files a build takes (its tags, and whether it uses
// cgo). A file that imports C counts without cgo too: the build says what it
// lacks.
//
// The error tells that root itself could not be read; it wraps fs.ErrNotExist
// when there is none.
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

// IsPage reports whether Discover would find a folder below root. An error tells
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

// isPageFolder reports whether a folder's Go files make it a page.
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

// A walk collects what Discover meets.
type walk struct {
	ctx        build.Context
	dirs       map[string][]string // by route
	unreadable map[string]error
}

// descend visits the folders among the entries of dir, whose place below the
// pages directory is place.
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
	if page || err != nil { // it may be one
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

// isSkipped reports whether neither the folder called name nor anything below it
// can be a page.
func isSkipped(name string) bool {
	switch name {
	case "internal", "node_modules", "testdata", "vendor":
		return true
	}
	return isHidden(name)
}

// isHidden reports whether the go command ignores name.
func isHidden(name string) bool {
	return strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".")
}

// isGone reports whether err says that what was to be read is there no more.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// isPage reports whether the Go files among the entries of dir make it a page.
// With an error it says what the files that could be read say, if that is clear.
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
			// Another package beside it is a mistake, and the build says so
			// better than a page that is missing.
			return true, nil
		case pkg == brokenName:
			broken = true
		default:
			library = true
		}
	}
	return broken && !library && unread == nil, unread
}

// brokenName stands for a package clause that cannot be parsed. No package can
// be called so.
const brokenName = "?"

// packageName returns the package that a Go file belongs to: brokenName if that
// cannot be told, nothing if the file takes no part in a build. The error tells
// that the file is there and cannot be read.
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

// readRegular returns the content of file. What is not a regular file, or a
// link to one, is as good as missing: opening a FIFO would wait for its writer.
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
