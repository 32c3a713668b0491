package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// inputs is what a binary is made of, as far as it can change: packages
// outside GOROOT and the module cache, and the files that say which.
type inputs struct {
	Dirs   []string // of packages; every source file in them counts
	Embeds []embed  `json:",omitempty"`
	Files  []string `json:",omitempty"` // go.mod and the like, whether they exist or not
}

// embed is the go:embed patterns of one package.
type embed struct {
	Dir      string
	Patterns []string
}

// snapshot is content by path: the hash of a file, or what stands for one that
// cannot be read.
type snapshot map[string]string

// sourceKinds are the endings that the go command looks at (go help packages,
// go/build.Package).
var sourceKinds = map[string]bool{
	".go": true, ".s": true, ".S": true, ".sx": true, ".syso": true, ".c": true, ".cc": true, ".cpp": true, ".cxx": true, ".m": true,
	".h": true, ".hh": true, ".hpp": true, ".hxx": true, ".f": true, ".F": true, ".for": true, ".f90": true,
	".swig": true, ".swigcxx": true,
}

func isSource(name string) bool {
	return sourceKinds[filepath.Ext(name)] && name[0] != '.' && name[0] != '_' && !strings.HasSuffix(name, "_test.go")
}

// concerns reports whether the change of a path can change the binary.
func (in inputs) concerns(changed string) bool {
	dir, name := filepath.Split(changed)
	if isSource(name) && slices.Contains(in.Dirs, filepath.Clean(dir)) || slices.Contains(in.Files, changed) {
		return true
	}
	for _, d := range in.Dirs {
		if below(d, changed) {
			return true // a folder that came or went
		}
	}
	for _, e := range in.Embeds {
		if e.matches(changed) || e.holds(changed) {
			return true
		}
	}
	return false
}

// matches reports whether a pattern takes the path or a folder above it. Files
// that "all:" would be needed for count too: a build too many is harmless.
func (e embed) matches(changed string) bool {
	rel, err := filepath.Rel(e.Dir, changed)
	if err != nil || !filepath.IsLocal(rel) {
		return false
	}
	for at := filepath.ToSlash(rel); at != "."; at = path.Dir(at) {
		for _, pattern := range e.Patterns {
			if ok, _ := path.Match(strings.TrimPrefix(pattern, "all:"), at); ok {
				return true
			}
		}
	}
	return false
}

// holds reports whether the path is a folder above what a pattern may take, so
// that all of it came or went with it.
func (e embed) holds(changed string) bool {
	for _, pattern := range e.Patterns {
		base, _, _ := strings.Cut(strings.TrimPrefix(pattern, "all:"), "*")
		if below(filepath.Join(e.Dir, path.Dir(base+"x")), changed) {
			return true
		}
	}
	return false
}

// below reports whether p is dir or lies below it.
func below(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir) && p[len(dir)] == filepath.Separator
}

// watched are the folders in which a change can concern the page.
func (in inputs) watched() []string {
	dirs := make(map[string]bool)
	for _, d := range in.Dirs {
		dirs[d] = true
	}
	for _, f := range in.Files {
		dirs[filepath.Dir(f)] = true
	}
	for file := range in.embedded() {
		dirs[filepath.Dir(file)] = true
	}
	return slices.Sorted(maps.Keys(dirs))
}

// embedded yields the files that the patterns take now, and more rather than
// fewer.
func (in inputs) embedded() func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, e := range in.Embeds {
			for _, pattern := range e.Patterns {
				tops, _ := filepath.Glob(filepath.Join(e.Dir, filepath.FromSlash(strings.TrimPrefix(pattern, "all:"))))
				for _, top := range tops {
					err := filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
						if err == nil && d.Type().IsRegular() && !yield(file) {
							return fs.SkipAll
						}
						return nil
					})
					if err != nil {
						return
					}
				}
			}
		}
	}
}

// snapshot reads all of it.
func (in inputs) snapshot() snapshot {
	s := make(snapshot)
	for _, dir := range in.Dirs {
		files, err := os.ReadDir(dir)
		if err != nil {
			s[dir] = "unreadable"
		}
		for _, f := range files {
			if isSource(f.Name()) {
				s.add(filepath.Join(dir, f.Name()))
			}
		}
	}
	for file := range in.embedded() {
		s.add(file)
	}
	for _, file := range in.Files {
		s.add(file)
	}
	return s
}

func (s snapshot) add(file string) {
	content, err := readRegular(file)
	if err != nil {
		s[file] = "unreadable"
		return
	}
	sum := sha256.Sum256(content)
	s[file] = hex.EncodeToString(sum[:])
}

// fingerprint is one name for all the content.
func (s snapshot) fingerprint() string {
	h := sha256.New()
	for _, file := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(h, "%q %s\n", file, s[file])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// readRegular reads a file, but never waits on a pipe that bears its name.
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
