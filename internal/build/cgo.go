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

// The go command knows the C files in a package's own folder, and of those that
// flags of cgo name besides it notices no change (go help cache). Those in the
// project are inputs here, and a header that nothing includes, put into the
// package by an overlay, has it compiled again when they changed.

var (
	headerKinds = []string{".h", ".hh", ".hpp", ".hxx", ".inc", ".inl"}
	headerDepth = 4 // folders below one that is named
)

// cgoInputs returns what the flags of a package's cgo name in folders below one of
// the homes.
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

// headerPatterns are patterns of the headers in a folder, and below it unless the
// package lies there too: far more than headers does then.
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

// flag is one of a compiler with its value.
type flag struct{ name, value string }

// flagValues returns the flags of some names with their values, which are part of the
// same word or the next.
func flagValues(words []string, names ...string) (flags []flag) {
	for i, word := range words {
		for _, name := range names {
			value, ok := strings.CutPrefix(word, name)
			switch {
			case !ok:
			case value == "" && i+1 < len(words):
				flags = append(flags, flag{name, words[i+1]})
			case value != "" && len(name) == 2: // -iquotedir is none
				flags = append(flags, flag{name, value})
			}
		}
	}
	return flags
}

// stampHeader is the file that an overlay puts into packages.
const stampHeader = "zz_tqserver_inputs.h"

// stamps makes the headers that have packages compiled again when what their cgo
// names has changed, and returns them by the name that they are to have.
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

// unstamped reports whether there are packages whose cgo names files that the
// build did not know of: they may have been compiled of older ones.
func (in inputs) unstamped(stamps map[string]string) bool {
	return slices.ContainsFunc(in.Embeds, func(e embed) bool {
		return e.Package != "" && stamps[filepath.Join(e.Package, stampHeader)] == ""
	})
}
