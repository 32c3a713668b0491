// Package project knows the places of a project: what lies below what, how a
// path is shown, where a name leads, and the source around a line. A folder
// always comes before what is looked for in it, as in filepath.Rel. The package
// keeps nothing.
package project

import (
	"os"
	"path/filepath"
)

// Rel returns path relative to dir. ok reports whether path is dir or lies below
// it; links are not resolved.
func Rel(dir, path string) (rel string, ok bool) {
	rel, err := filepath.Rel(dir, path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", false
	}
	return rel, true
}

// Contains reports whether path is dir or lies below it. Links are not resolved.
func Contains(dir, path string) bool {
	_, ok := Rel(dir, path)
	return ok
}

// Abs returns path as seen from dir, which is absolute.
func Abs(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// Show returns path as people read it: relative to root if it lies there.
func Show(root, path string) string {
	if rel, ok := Rel(root, path); ok {
		return rel
	}
	return path
}

// Resolve returns the regular file that a name leads to, as seen from root, when
// all links on the way are resolved. ok is false if there is none, or if it does
// not lie in root.
func Resolve(root, name string) (file string, ok bool) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", false
	}
	file, err = filepath.EvalSymlinks(Abs(root, name))
	if err != nil || !Contains(root, file) {
		return "", false
	}
	info, err := os.Stat(file)
	return file, err == nil && info.Mode().IsRegular()
}
