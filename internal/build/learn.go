package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// listed is what is asked of go list.
type listed struct {
	Dir, ImportPath string
	Standard        bool
	EmbedPatterns   []string
	Module          *module
}

type module struct {
	Path, Version, Dir, GoMod string
	Replace                   *module
}

// Learn asks what the page's newest build was made of, has that watched and
// writes it down for later starts. It reports whether any of it changed since
// that build began: the build is stale then.
func (b *Builder) Learn(ctx context.Context, dir string) (stale bool, err error) {
	p := b.page(dir)
	b.mu.Lock()
	a, learned := p.attempt, p.learned
	b.mu.Unlock()
	if learned {
		return false, nil
	}
	in, err := b.list(ctx, dir)
	if err != nil {
		return false, err
	}
	b.watch(in) // before it is read, so that no change falls between
	after := in.snapshot()
	b.mu.Lock()
	p.inputs, p.learned = in, true
	b.mu.Unlock()
	if a.changed(after) {
		return true, nil
	}
	if a.binary == "" {
		return false, nil
	}
	e := entry{Inputs: in, Content: after.fingerprint(), Flavour: b.flavour(), Toolchain: a.tools, Binary: a.binary, Size: a.size}
	b.mu.Lock()
	p.entries = append([]entry{e}, slices.DeleteFunc(slices.Clone(p.entries), func(old entry) bool { return old.Binary == e.Binary })...)
	p.entries = p.entries[:min(len(p.entries), keptEntries)]
	entries := p.entries
	b.mu.Unlock()
	return false, b.writeEntries(p.id, entries)
}

// changed reports whether a file is not what the build was made of. For files
// that it was not known to be made of, the time of their last change tells; it
// is taken to be exact to a second only.
func (a attempt) changed(after snapshot) bool {
	for file, content := range after {
		if before, known := a.before[file]; known {
			if before != content {
				return true
			}
		} else if info, err := os.Stat(file); err == nil && changeTime(info).After(a.began.Add(-time.Second)) {
			return true
		}
	}
	return false
}

// list asks the go command for the packages of a page, also if it does not
// build.
func (b *Builder) list(ctx context.Context, dir string) (inputs, error) {
	out, err := b.run(ctx, dir, "list", "-e", "-deps", "-json=Dir,ImportPath,Standard,EmbedPatterns,Module", ".")
	if exit, ok := errors.AsType[*exitError](err); ok {
		err = fmt.Errorf("%s (%w)", lastLine(out.text()), exit)
	}
	in := inputs{Dirs: []string{dir}}
	if err != nil {
		return in, fmt.Errorf("ask for the imports of %s: %w", b.show(dir), err)
	}
	dirs, files := map[string]bool{dir: true}, make(map[string]bool)
	var main *module
	var missing []string
	for dec := json.NewDecoder(&out.stdout); ; {
		var l listed
		if err := dec.Decode(&l); err == io.EOF {
			break
		} else if err != nil {
			return in, fmt.Errorf("read the imports of %s: %w", b.show(dir), err)
		}
		switch {
		case l.Standard:
			continue
		case l.Dir == "":
			missing = append(missing, l.ImportPath)
			continue
		case l.Module != nil && l.Module.immutable() && !strings.Contains(l.Dir, "/vendor/"):
			continue
		}
		dirs[l.Dir] = true
		if len(l.EmbedPatterns) > 0 {
			in.Embeds = append(in.Embeds, embed{Dir: l.Dir, Patterns: l.EmbedPatterns})
		}
		if l.Module != nil && l.Module.GoMod != "" {
			files[l.Module.GoMod] = true
		}
		if l.Dir == dir {
			main = l.Module
		}
	}
	// A package that does not exist yet may be on its way.
	for _, path := range missing {
		if rel, ok := strings.CutPrefix(path, main.path()+"/"); ok && main != nil {
			dirs[filepath.Join(main.Dir, filepath.FromSlash(rel))] = true
		}
	}
	for _, file := range workspace(dir) {
		files[file] = true
	}
	in.Dirs = slices.Sorted(maps.Keys(dirs))
	in.Files = slices.Sorted(maps.Keys(files))
	return in, nil
}

// immutable reports whether the module lies in the module cache, where content
// never changes.
func (m *module) immutable() bool {
	if m.Replace != nil {
		return m.Replace.Version != ""
	}
	return m.Version != ""
}

func (m *module) path() string {
	if m == nil {
		return ""
	}
	return m.Path
}

// workspace returns the files that decide to which module and workspace a
// folder belongs and what they are made of: those beside the nearest go.mod,
// and beside the nearest go.work on the way up. They need not exist.
func workspace(dir string) (files []string) {
	foundMod, foundWork := false, false
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil && !foundMod {
			foundMod = true
			for _, name := range []string{"go.mod", "go.sum", "vendor/modules.txt", "go.work"} {
				files = append(files, filepath.Join(dir, name))
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil && !foundWork {
			foundWork = true
			files = append(files, filepath.Join(dir, "go.work"), filepath.Join(dir, "go.work.sum"))
		}
		if dir == filepath.Dir(dir) {
			slices.Sort(files)
			return slices.Compact(files)
		}
	}
}

// Affected returns the pages whose binary the change of a path can change,
// each with the first such path. No path at all means that anything may have
// changed.
func (b *Builder) Affected(paths []string) map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	affected := make(map[string]string)
	for dir, p := range b.pages {
		if paths == nil {
			affected[dir] = ""
		}
		for _, path := range paths {
			if p.inputs.concerns(path) || !p.learned && below(path, dir) {
				affected[dir] = path
				break
			}
		}
	}
	return affected
}

func changeTime(info os.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return statTime(stat)
	}
	return info.ModTime()
}
