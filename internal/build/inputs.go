package build

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"tqserver/internal/project"
)

// inputs is what a binary is built from, as far as it can change: packages outside
// GOROOT and the module cache, and the files that determine which packages.
type inputs struct {
	Dirs   []string // of packages; every source file in them counts
	Embeds []embed
	Files  []string // go.mod and the like, even if they do not exist, and targets of links
}

// embed is the go:embed patterns of one package.
type embed struct {
	Dir      string
	Patterns []string
	Package  string `json:",omitempty"` // if set, no go:embed, but files that cgo of the package in this folder uses
}

// snapshot is the state of inputs, by path.
type snapshot map[string]stamp

// stamp is the state of one file or folder.
type stamp struct {
	content string // hash of a file, or one of the constants below
	changed time.Time
	size    int64
	node    uint64
}

const (
	folder     = "folder"
	unreadable = "unreadable"
	denied     = "denied" // it exists, but may not be read
)

// sourceKinds are the endings that the go command knows (go help packages,
// go/build.Package).
var sourceKinds = map[string]bool{
	".go": true, ".s": true, ".S": true, ".sx": true, ".syso": true, ".c": true, ".cc": true, ".cpp": true, ".cxx": true, ".m": true,
	".h": true, ".hh": true, ".hpp": true, ".hxx": true, ".f": true, ".F": true, ".for": true, ".f90": true,
	".swig": true, ".swigcxx": true,
}

func isSource(name string) bool {
	return sourceKinds[filepath.Ext(name)] && name[0] != '.' && name[0] != '_' && !strings.HasSuffix(name, "_test.go")
}

// isTest reports whether name is that of a test file. It goes into no binary, but
// the go command reads its imports before it builds.
func isTest(name string) bool {
	return strings.HasSuffix(name, "_test.go") && name[0] != '.' && name[0] != '_'
}

// affectedBy reports whether a change of a path can change the binary.
func (in inputs) affectedBy(changed string) bool {
	dir, name := filepath.Split(changed)
	if isSource(name) && slices.Contains(in.Dirs, filepath.Clean(dir)) {
		return true
	}
	for _, known := range [][]string{in.Dirs, in.Files} {
		for _, path := range known {
			if project.Contains(changed, path) {
				return true // the input itself, or a folder above it
			}
		}
	}
	for _, e := range in.Embeds {
		rel, ok := project.Rel(e.Dir, changed)
		if !ok {
			continue
		}
		takes, leads := e.match(filepath.ToSlash(rel))
		if takes || leads && (e.Package == "" || filepath.Ext(rel) == "") { // other files beside headers are no inputs
			return true
		}
	}
	return false
}

// match reports whether a pattern takes a path relative to the package, and
// whether one may take files below it.
func (e embed) match(rel string) (takes, leads bool) {
	parts := strings.Split(rel, "/")
	for _, pattern := range e.Patterns {
		pattern, all := strings.CutPrefix(pattern, "all:")
		segments := strings.Split(pattern, "/")
		n := min(len(segments), len(parts))
		if ok, _ := path.Match(path.Join(segments[:n]...), path.Join(parts[:n]...)); !ok {
			continue
		}
		hidden := !all && slices.ContainsFunc(parts[n:], func(s string) bool { return s[0] == '.' || s[0] == '_' })
		editors := IsEditorFile(parts[len(parts)-1]) && pattern != rel
		takes = takes || n == len(segments) && !hidden && !editors
		leads = leads || n < len(segments)
	}
	return takes, leads
}

// walk visits the files that the patterns take now, and the folders in which they
// may take more.
func (e embed) walk(visit func(path string, dir bool)) {
	fs.WalkDir(os.DirFS(e.Dir), ".", func(rel string, d fs.DirEntry, err error) error {
		if rel == "." || err != nil {
			return nil
		}
		takes, leads := e.match(rel)
		switch {
		case d.IsDir() && !takes && !leads:
			return fs.SkipDir
		case d.IsDir() || takes:
			visit(filepath.Join(e.Dir, filepath.FromSlash(rel)), d.IsDir())
		}
		return nil
	})
}

// watched returns the files and folders to watch.
func (in inputs) watched() []string {
	paths := slices.Concat(in.Dirs, in.Files)
	for _, e := range in.Embeds {
		e.walk(func(path string, dir bool) {
			if dir {
				paths = append(paths, path)
			}
		})
	}
	return paths
}

// snapshot reads all inputs.
func (in inputs) snapshot() snapshot { return in.snapshotSince(nil, time.Time{}) }

// snapshotSince reads all inputs but the files that have not changed since an
// earlier snapshot, which began at a time. Files that changed just before that
// may have changed again within the precision of times.
func (in inputs) snapshotSince(before snapshot, began time.Time) snapshot {
	s := make(snapshot)
	add := func(file string) { s.add(file, before[file], began.Add(-timePrecision)) }
	for _, dir := range in.Dirs {
		s[dir] = stamp{content: unreadable}
		files, err := os.ReadDir(dir)
		if info, statErr := os.Stat(dir); err == nil && statErr == nil {
			s[dir] = stamp{content: folder, changed: changeTime(info)}
		}
		for _, f := range files {
			if isSource(f.Name()) {
				add(filepath.Join(dir, f.Name()))
			}
		}
	}
	for _, e := range in.Embeds {
		e.walk(func(path string, dir bool) {
			if !dir {
				add(path)
			}
		})
	}
	for _, file := range in.Files {
		add(file)
	}
	return s
}

// timePrecision is the precision of times of change, at worst.
const timePrecision = 2 * time.Second

func (s snapshot) add(file string, before stamp, trusted time.Time) {
	var now stamp
	info, err := os.Stat(file)
	if err == nil && info.Mode().IsRegular() { // opening a pipe would wait for a writer
		now = stamp{before.content, changeTime(info), info.Size(), node(info)}
		if now != before || !now.changed.Before(trusted) {
			now.content, err = digest(file)
		}
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		s[file] = stamp{content: denied}
	case now.content == "":
		s[file] = stamp{content: unreadable}
	default:
		s[file] = now
	}
}

// denied returns the files that may not be read.
func (s snapshot) denied() (files []string) {
	for file, stamp := range s {
		if stamp.content == denied {
			files = append(files, file)
		}
	}
	return files
}

// tests returns the state of the test files.
func (in inputs) tests() snapshot {
	s := make(snapshot)
	for _, dir := range in.Dirs {
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			if !isTest(f.Name()) {
				continue
			}
			if info, err := f.Info(); err == nil {
				s[filepath.Join(dir, f.Name())] = stamp{changed: changeTime(info)}
			}
		}
	}
	return s
}

// snapshotCache keeps the last snapshot, because the steps of a lookup mostly need
// the same one.
type snapshotCache struct {
	in   inputs
	seen snapshot
}

func (r *snapshotCache) snapshot(in inputs) snapshot {
	if r.seen == nil || !reflect.DeepEqual(r.in, in) {
		r.in, r.seen = in, in.snapshot()
	}
	return r.seen
}

// fingerprint returns a hash of all the content.
func (s snapshot) fingerprint() string {
	h := sha256.New()
	for _, file := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(h, "%q %s\n", file, s[file].content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// digest returns a hash of a file's content. It reads in pieces: binaries are
// large, and so may be the files that they embed.
func digest(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	buf := make([]byte, min(info.Size()+1, 64<<10)) // one byte more, to see the end
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, buf); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// readRegular reads a regular file. It never waits on a pipe.
func readRegular(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrInvalid
	}
	return os.ReadFile(file)
}

func changeTime(info os.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return statTime(stat)
	}
	return info.ModTime()
}

// node tells files of one disk apart.
func node(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Ino)
	}
	return 0
}
