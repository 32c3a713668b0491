package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tqserver/internal/project"
)

// listed is what go list prints of a package.
type listed struct {
	Dir, ImportPath string
	Standard        bool
	Incomplete      bool // it, or what it imports, cannot be loaded
	DepOnly         bool
	EmbedPatterns   []string

	CgoCFLAGS, CgoCPPFLAGS, CgoCXXFLAGS, CgoLDFLAGS []string

	Imports []string
	Module  *module
}

type module struct {
	Path, Version, Dir, GoMod string
	Replace                   *module
}

// listing is what go list finds out about a page.
type listing struct {
	inputs     inputs
	importPath string
	incomplete bool
	err        error // if any, the inputs are only the guessed ones
}

// list runs go list in a folder for the packages of pages, including pages that do
// not build.
func (b *Builder) list(ctx context.Context, env environment, at string, dirs []string) map[string]listing {
	all := make(map[string]listing, len(dirs))
	packages, err := b.listPackages(ctx, env, at, dirs)
	for _, dir := range dirs {
		l := listing{inputs: env.guessInputs(dir), err: err}
		if err == nil {
			l.collect(dir, b.opts.Root, packages)
		}
		all[dir] = l
	}
	return all
}

func (b *Builder) listPackages(ctx context.Context, env environment, at string, dirs []string) (map[string]listed, error) {
	args := []string{"list", "-e", "-deps", "-json=Dir,ImportPath,Standard,Incomplete,DepOnly,EmbedPatterns,EmbedFiles,Imports,Module,CgoCFLAGS,CgoCPPFLAGS,CgoCXXFLAGS,CgoLDFLAGS"} // without EmbedFiles nothing would be said of patterns that take none
	out, err := b.run(ctx, env, at, append(args, folderArgs(at, dirs)...)...)
	if exit, ok := errors.AsType[*exitError](err); ok {
		err = fmt.Errorf("%s (%w)", lastLine(out.text()), exit)
	}
	if err != nil {
		return nil, fmt.Errorf("list the imports of %s: %w", b.show(dirs[0]), err)
	}
	packages := make(map[string]listed)
	for dec := json.NewDecoder(&out.stdout); ; {
		var l listed
		if err := dec.Decode(&l); err == io.EOF {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the imports of %s: %w", b.show(dirs[0]), err)
		}
		packages[l.ImportPath] = l
	}
}

// folderArgs returns folders as arguments of a go command that runs in a folder.
func folderArgs(at string, dirs []string) (args []string) {
	for _, dir := range dirs {
		if rel, err := filepath.Rel(at, dir); err == nil {
			args = append(args, "./"+filepath.ToSlash(rel))
		}
	}
	return args
}

// collect adds the inputs of the page in dir.
func (l *listing) collect(dir, root string, packages map[string]listed) {
	var paths []string
	for path, p := range packages {
		if !p.DepOnly && p.Dir == dir {
			l.importPath, l.incomplete = path, p.Incomplete
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 { // it belongs to no module
		l.incomplete = true
	}
	dirs, files, seen := map[string]bool{dir: true}, make(map[string]bool), make(map[string]bool)
	for _, f := range l.inputs.Files {
		files[f] = true
	}
	var missing []string
	for len(paths) > 0 {
		path := paths[0]
		paths = paths[1:]
		p, known := packages[path]
		if seen[path] || !known || p.Standard {
			continue
		}
		seen[path] = true
		if p.Dir == "" {
			missing = append(missing, path)
			continue
		}
		paths = append(paths, p.Imports...)
		if p.Module != nil && p.Module.immutable() {
			continue
		}
		dirs[p.Dir] = true
		if len(p.EmbedPatterns) > 0 {
			l.inputs.Embeds = append(l.inputs.Embeds, embed{Dir: p.Dir, Patterns: p.EmbedPatterns})
		}
		home := ""
		if p.Module != nil {
			home = p.Module.Dir
		}
		l.inputs.Embeds = append(l.inputs.Embeds, p.cgoInputs(root, home)...)
		if p.Module != nil && p.Module.Dir != "" {
			for at := p.Dir; project.Contains(p.Module.Dir, at); at = filepath.Dir(at) {
				files[filepath.Join(at, "go.mod")] = true // a new one would begin another module
			}
		}
	}
	// A package that is missing may be about to be saved.
	for _, path := range missing {
		for f := range files {
			if dir, ok := packageDir(f, path); ok {
				dirs[dir] = true
			}
		}
	}
	l.inputs.Dirs = slices.Sorted(maps.Keys(dirs))
	for _, f := range linkTargets(l.inputs.Dirs) {
		files[f] = true
	}
	l.inputs.Files = slices.Sorted(maps.Keys(files))
	slices.SortStableFunc(l.inputs.Embeds, func(x, y embed) int { return strings.Compare(x.Dir, y.Dir) })
}

// linkTargets returns the files to which source files in some folders are links.
// The go command follows links to files, but not to folders.
func linkTargets(dirs []string) (files []string) {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // the build reports it
		}
		for _, e := range entries {
			if e.Type()&fs.ModeSymlink == 0 || !isSource(e.Name()) {
				continue
			}
			if real, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name())); err == nil {
				files = append(files, real)
			}
		}
	}
	return files
}

// immutable reports whether the module lies in the module cache, where content
// never changes. A vendored module has no folder of its own.
func (m *module) immutable() bool {
	if m.Dir == "" {
		return false
	}
	if m.Replace != nil {
		return m.Replace.Version != ""
	}
	return m.Version != ""
}
