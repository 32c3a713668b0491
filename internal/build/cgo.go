package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tqserver/internal/project"
)

// The go command notices changes of C files in a package's own folder, but not of
// other files that the flags of cgo name (go help cache). If such files lie in the
// project they are inputs here. An overlay adds a header to the package that nothing
// includes, but whose content changes with theirs, so that the go command compiles
// the package again.

var (
	headerKinds = []string{".h", ".hh", ".hpp", ".hxx", ".inc", ".inl"}
	headerDepth = 4 // levels of folders below one that is named
)

// cgoInputs returns the files that the flags of a package's cgo name in or below
// one of the homes.
func (p listed) cgoInputs(homes ...string) (named []embed) {
	own := func(dir string) bool {
		return slices.ContainsFunc(homes, func(home string) bool { return home != "" && project.Contains(home, dir) })
	}
	add := func(dir string, patterns ...string) {
		if own(dir) {
			named = append(named, embed{Dir: dir, Patterns: patterns, Package: p.Dir})
		}
	}
	for _, f := range flagValues(slices.Concat(p.CgoCFLAGS, p.CgoCPPFLAGS, p.CgoCXXFLAGS), "-I", "-iquote", "-isystem", "-idirafter") {
		if dir := project.Abs(p.Dir, f.value); dir != p.Dir {
			add(dir, headerPatterns(dir, p.Dir)...)
		}
	}
	for _, f := range flagValues(slices.Concat(p.CgoCFLAGS, p.CgoCPPFLAGS, p.CgoCXXFLAGS), "-include") {
		add(filepath.Dir(project.Abs(p.Dir, f.value)), filepath.Base(f.value))
	}
	var libraries []string
	for _, f := range flagValues(p.CgoLDFLAGS, "-l") {
		libraries = append(libraries, "lib"+f.value+".a", "lib"+f.value+".so")
	}
	for _, f := range flagValues(p.CgoLDFLAGS, "-L") {
		add(project.Abs(p.Dir, f.value), libraries...)
	}
	for _, word := range p.CgoLDFLAGS {
		if ext := filepath.Ext(word); word[0] != '-' && slices.Contains([]string{".a", ".o", ".so"}, ext) {
			add(filepath.Dir(project.Abs(p.Dir, word)), filepath.Base(word))
		}
	}
	return named
}

// headerPatterns returns patterns for the headers in a folder, and below it unless
// the package lies there too: then there is much else.
func headerPatterns(dir, pkg string) (patterns []string) {
	for depth := range headerDepth + 1 {
		for _, kind := range headerKinds {
			patterns = append(patterns, strings.Repeat("*/", depth)+"*"+kind)
		}
		if project.Contains(dir, pkg) {
			break
		}
	}
	return patterns
}

// flag is a flag of a compiler with its value.
type flag struct{ name, value string }

// flagValues returns the flags with some names and their values, which are in the
// same word or the next.
func flagValues(words []string, names ...string) (flags []flag) {
	for i, word := range words {
		for _, name := range names {
			value, ok := strings.CutPrefix(word, name)
			switch {
			case !ok:
			case value == "" && i+1 < len(words):
				flags = append(flags, flag{name, words[i+1]})
			case value != "" && len(name) == 2: // there is no -iquotedir
				flags = append(flags, flag{name, value})
			}
		}
	}
	return flags
}

// stampHeader is the header that an overlay adds to packages.
const stampHeader = "zz_tqserver_inputs.h"

// stamps makes the headers that an overlay adds, and returns them by the path that
// they appear under.
func (b *Builder) stamps(in inputs, seen snapshot) (map[string]string, error) {
	content := make(map[string]map[string]bool) // lines, by package
	for _, e := range in.Embeds {
		if e.Package == "" {
			continue
		}
		if content[e.Package] == nil {
			content[e.Package] = make(map[string]bool)
		}
		e.walk(func(path string, dir bool) {
			if !dir {
				content[e.Package][fmt.Sprintf("// %q %s\n", path, seen[path].content)] = true
			}
		})
	}
	headers := make(map[string]string)
	for pkg, lines := range content {
		text := strings.Join(slices.Sorted(maps.Keys(lines)), "")
		sum := sha256.Sum256([]byte(text))
		file := filepath.Join(b.dir, "inputs-"+hex.EncodeToString(sum[:8])+".h")
		if _, err := os.Stat(file); err != nil {
			if err := b.writeWhole(file, []byte(text)); err != nil {
				return nil, err
			}
		}
		headers[filepath.Join(pkg, stampHeader)] = file
	}
	return headers, nil
}

// unstamped reports whether cgo of a package uses files that the build did not know
// of: the package may be compiled from older ones.
func (in inputs) unstamped(stamps map[string]string) bool {
	return slices.ContainsFunc(in.Embeds, func(e embed) bool {
		return e.Package != "" && stamps[filepath.Join(e.Package, stampHeader)] == ""
	})
}
