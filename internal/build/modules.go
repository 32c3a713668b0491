package build

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tqserver/internal/project"
)

// The files of modules and workspaces are parsed here, and roughly: the go command
// says nothing about modules while one of their files is wrong, nor about modules
// of which only the go.mod counts. A file too many does no harm.
var (
	moduleWord   = regexp.MustCompile("\"[^\"]*\"|`[^`]*`|[^\\s()]+")
	moduleClause = regexp.MustCompile(`(?m)^\s*module\s+(\S+)`)
)

// guessInputs returns what is known of a page's inputs without running the go
// command: its folder, the profile in it, which the compiler uses (go help build,
// -pgo), and the files that decide to which module or workspace it belongs.
func (e environment) guessInputs(dir string) inputs {
	files := map[string]bool{filepath.Join(dir, "default.pgo"): true}
	foundMod, foundWork, root := false, false, dir
	for at := dir; ; at = filepath.Dir(at) {
		if mod := filepath.Join(at, "go.mod"); !foundMod {
			_, err := os.Stat(mod)
			if foundMod = err == nil; foundMod {
				root = at
			}
			addModule(files, mod)
		}
		if work := filepath.Join(at, "go.work"); !foundWork {
			_, err := os.Stat(work)
			foundWork = err == nil
			addModule(files, work)
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	if work := e.lookup("GOWORK"); filepath.IsAbs(work) {
		addModule(files, work)
	}
	e.addFlagFiles(files, dir, root)
	if e.shim {
		for _, file := range versionFilesAbove(dir) {
			files[file] = true
		}
	}
	return inputs{Dirs: []string{dir}, Files: slices.Sorted(maps.Keys(files))}
}

// addFlagFiles adds the files that GOFLAGS names, which are relative to where the
// go command runs (go help build). Paths in the file of -modfile are relative to
// the module's root.
func (e environment) addFlagFiles(files map[string]bool, dir, root string) {
	abs := func(file string) string { return project.Abs(dir, file) }
	flags := e.flags()
	if mod := flags["modfile"]; mod != "" {
		addModuleOf(files, abs(mod), root)
	}
	if profile := flags["pgo"]; profile != "" && profile != "auto" && profile != "off" {
		files[abs(profile)] = true
	}
	if overlay := flags["overlay"]; overlay != "" {
		files[abs(overlay)] = true
		var over struct{ Replace map[string]string }
		text, _ := readRegular(abs(overlay))
		json.Unmarshal(text, &over) // the build reports what is wrong
		for _, file := range over.Replace {
			if file != "" {
				files[abs(file)] = true
			}
		}
	}
}

// addModule adds a go.mod or go.work, even if it does not exist, and if it does,
// the files beside it and the modules that it names by folder.
func addModule(files map[string]bool, file string) {
	addModuleOf(files, file, filepath.Dir(file))
}

func addModuleOf(files map[string]bool, file, dir string) {
	if files[file] {
		return
	}
	files[file] = true
	text, err := readRegular(file)
	if err != nil {
		return
	}
	files[filepath.Join(dir, "vendor", "modules.txt")] = true
	if strings.HasSuffix(file, ".work") {
		files[file+".sum"] = true
	} else {
		files[strings.TrimSuffix(file, ".mod")+".sum"] = true
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "//")
		for _, word := range moduleWord.FindAllString(line, -1) {
			if bare, err := strconv.Unquote(word); err == nil {
				word = bare
			}
			if !isFolderPath(word) {
				continue
			}
			addModule(files, filepath.Join(project.Abs(dir, word), "go.mod"))
		}
	}
}

// isFolderPath reports whether the go command takes a word for a folder, not for a
// module path (Modules reference, replace directive).
func isFolderPath(word string) bool {
	return word == "." || word == ".." || strings.HasPrefix(word, "./") || strings.HasPrefix(word, "../") || strings.HasPrefix(word, "/")
}

// packageDir returns the folder of a package if the module of a go.mod has it.
func packageDir(goMod, importPath string) (dir string, ok bool) {
	text, err := readRegular(goMod)
	if err != nil {
		return "", false
	}
	m := moduleClause.FindSubmatch(text)
	if m == nil {
		return "", false
	}
	return packageBelow(filepath.Dir(goMod), strings.Trim(string(m[1]), "\"`"), importPath)
}

// packageBelow returns the folder of a package if a module in dir has it.
func packageBelow(dir, module, importPath string) (pkg string, ok bool) {
	rel, ok := strings.CutPrefix(importPath, module)
	if !ok || module != "" && rel != "" && rel[0] != '/' {
		return "", false
	}
	return filepath.Join(dir, filepath.FromSlash(rel)), true
}

// moduleFile returns the go.work or go.mod that a page belongs to. It is empty if
// there is none, or if GOFLAGS names files relative to each page.
func (e environment) moduleFile(dir string) string {
	flags := e.flags()
	for _, name := range []string{"modfile", "pgo", "overlay"} {
		if file := flags[name]; file != "" && file != "auto" && file != "off" && !filepath.IsAbs(file) {
			return ""
		}
	}
	work := e.lookup("GOWORK")
	switch {
	case work == "off":
		return findAbove(dir, "go.mod")
	case work != "" && work != "auto":
		return work
	}
	if work := findAbove(dir, "go.work"); work != "" {
		return work
	}
	return findAbove(dir, "go.mod")
}

// findAbove returns the nearest file with a name in dir or above it; empty if there
// is none.
func findAbove(dir, name string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, name)); err == nil {
			return filepath.Join(at, name)
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}
