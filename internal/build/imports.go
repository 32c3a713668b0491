package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// clauses are the parts of a Go file that determine other files of the program.
type clauses struct {
	head    string // the text up to the end of the imports
	imports []string
	embeds  []string // patterns
}

func clausesOf(file string) (c clauses, err error) {
	text, err := readRegular(file)
	if err != nil {
		return c, err
	}
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, file, text, parser.ImportsOnly)
	if err != nil {
		return c, err
	}
	end := f.Name.End()
	for _, d := range f.Decls {
		end = max(end, d.End())
	}
	c.head = string(text[:files.Position(end).Offset])
	for _, spec := range f.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil {
			c.imports = append(c.imports, path)
		}
	}
	for line := range strings.Lines(string(text)) {
		if patterns, ok := strings.CutPrefix(strings.TrimSpace(line), "//go:embed "); ok {
			for _, word := range moduleWord.FindAllString(patterns, -1) {
				if bare, err := strconv.Unquote(word); err == nil {
					word = bare
				}
				c.embeds = append(c.embeds, word)
			}
		}
	}
	return c, nil
}

// shape returns a hash of everything that determines the inputs of a binary:
// names of files, imports and embeds, but not the rest of the source. While it
// stays the same, go list would print the same.
func (a *attempt) shape(in inputs) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%s\n", a.settings, a.toolchain)
	for _, dir := range in.Dirs {
		files, _ := os.ReadDir(dir)
		fmt.Fprintf(sum, "%q\n", dir)
		for _, f := range files {
			if !isSource(f.Name()) {
				continue
			}
			path := filepath.Join(dir, f.Name())
			fmt.Fprintf(sum, "%q %v\n", f.Name(), f.Type())
			if c, err := clausesOf(path); err == nil {
				fmt.Fprintf(sum, "%q %q\n", c.head, c.embeds)
			} else if filepath.Ext(path) == ".go" {
				content, _ := digest(path)
				fmt.Fprintf(sum, "%s\n", content)
			}
		}
	}
	fmt.Fprintf(sum, "%s\n", inputs{Files: in.Files}.snapshot().fingerprint())
	return hex.EncodeToString(sum.Sum(nil))
}

// withImports adds the packages and files that import clauses may lead to. It is
// a guess, which the go command replaces; changes of files that were read before a
// build are recognised by content, of others only by time.
func (in inputs) withImports() inputs {
	places, seen := in.moduleRoots(), make(map[string]bool)
	all := inputs{Dirs: slices.Clone(in.Dirs), Embeds: slices.Clone(in.Embeds), Files: slices.Clone(in.Files)}
	for i := 0; i < len(all.Dirs); i++ {
		dir := all.Dirs[i]
		files, _ := os.ReadDir(dir)
		var patterns []string
		for _, f := range files {
			if filepath.Ext(f.Name()) != ".go" || !isSource(f.Name()) {
				continue
			}
			c, err := clausesOf(filepath.Join(dir, f.Name()))
			if err != nil {
				continue
			}
			patterns = append(patterns, c.embeds...)
			for _, path := range c.imports {
				if seen[path] {
					continue
				}
				seen[path] = true
				for place, module := range places {
					dir, ok := packageBelow(place, module, path)
					if info, err := os.Stat(dir); ok && err == nil && info.IsDir() && !slices.Contains(all.Dirs, dir) {
						all.Dirs = append(all.Dirs, dir)
					}
				}
			}
		}
		if len(patterns) > 0 {
			all.Embeds = append(all.Embeds, embed{Dir: dir, Patterns: patterns})
		}
	}
	all.Files = append(all.Files, linkTargets(all.Dirs)...)
	return all
}

// moduleRoots returns the folders of modules and their vendor folders, each with
// the path that the import paths below it begin with.
func (in inputs) moduleRoots() map[string]string {
	places := make(map[string]string)
	for _, file := range in.Files {
		dir := filepath.Dir(file)
		switch text, err := readRegular(file); {
		case err != nil:
		case filepath.Base(file) == "modules.txt":
			places[dir] = ""
		default:
			if m := moduleClause.FindSubmatch(text); m != nil && filepath.Ext(file) == ".mod" {
				places[dir] = strings.Trim(string(m[1]), "\"`")
			}
		}
	}
	return places
}
