package build

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The files that make up modules and workspaces are read here by ourselves,
// and roughly: the go command says nothing of modules while one of their files
// is wrong, nor of modules that count by their go.mod alone. A file too many
// costs a look at it.
var (
	moduleWord   = regexp.MustCompile("\"[^\"]*\"|`[^`]*`|[^\\s()]+")
	moduleClause = regexp.MustCompile(`(?m)^\s*module\s+(\S+)`)
)

// guess is what can be said of a page's inputs without a go command: its
// folder, the profile in it, which the compiler follows (go help build, -pgo),
// and the files that decide to which module or workspace it belongs.
func (h how) guess(dir string) inputs {
	files := map[string]bool{filepath.Join(dir, "default.pgo"): true}
	foundMod, foundWork := false, false
	for at := dir; ; at = filepath.Dir(at) {
		if mod := filepath.Join(at, "go.mod"); !foundMod {
			_, err := os.Stat(mod)
			foundMod = err == nil
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
	if work := h.getenv("GOWORK"); filepath.IsAbs(work) {
		addModule(files, work)
	}
	return inputs{Dirs: []string{dir}, Files: slices.Sorted(maps.Keys(files))}
}

// addModule adds a go.mod or go.work, whether it exists or not, and if it does
// what stands beside it and the modules it names by folder.
func addModule(files map[string]bool, file string) {
	if files[file] {
		return
	}
	files[file] = true
	text, err := readRegular(file)
	if err != nil {
		return
	}
	dir := filepath.Dir(file)
	files[filepath.Join(dir, "vendor", "modules.txt")] = true
	if strings.HasSuffix(file, ".work") {
		files[file+".sum"] = true
	} else {
		files[filepath.Join(dir, "go.sum")] = true
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "//")
		for _, word := range moduleWord.FindAllString(line, -1) {
			if bare, err := strconv.Unquote(word); err == nil {
				word = bare
			}
			if !isFolder(word) {
				continue
			}
			if !filepath.IsAbs(word) {
				word = filepath.Join(dir, word)
			}
			addModule(files, filepath.Join(word, "go.mod"))
		}
	}
}

// isFolder is how the go command tells folders from module paths (Modules
// reference, replace directive).
func isFolder(word string) bool {
	return word == "." || word == ".." || strings.HasPrefix(word, "./") || strings.HasPrefix(word, "../") || strings.HasPrefix(word, "/")
}

// packageDir is where a package would lie if the module of a go.mod holds it.
func packageDir(goMod, importPath string) (dir string, ok bool) {
	text, err := readRegular(goMod)
	if err != nil {
		return "", false
	}
	m := moduleClause.FindSubmatch(text)
	if m == nil {
		return "", false
	}
	rel, ok := strings.CutPrefix(importPath, strings.Trim(string(m[1]), "\"`"))
	if !ok || rel != "" && rel[0] != '/' {
		return "", false
	}
	return filepath.Join(filepath.Dir(goMod), filepath.FromSlash(rel)), true
}
