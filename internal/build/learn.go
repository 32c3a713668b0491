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
// that build began: the build is stale then. What Learn finds is dropped if
// meanwhile a newer build ended, or the page went.
func (b *Builder) Learn(ctx context.Context, dir string) (stale bool, err error) {
	b.mu.Lock()
	p := b.pages[dir]
	if p == nil || p.learned || p.attempt == nil {
		b.mu.Unlock()
		return false, nil
	}
	a, known := p.attempt, p.inputs
	b.mu.Unlock()
	var in inputs
	if a.followed != nil {
		in = a.followed.Inputs
	} else if in, err = b.list(ctx, a.how, dir); err != nil { // of what was known nothing is less true, and the go.mod that is wrong will change
		in.Dirs, in.Embeds = known.Dirs, known.Embeds
		in.Files = slices.Compact(slices.Sorted(slices.Values(append(in.Files, known.Files...))))
	}
	// Changes are heard of from here on, before anything is read.
	failed := err != nil && ctx.Err() == nil
	current := b.settle(p, a, func() { p.inputs, p.blind = in, failed })
	b.watch(p)
	if !current || err != nil {
		return false, err
	}
	after := in.snapshot()
	b.await(after)
	stale = a.changed(in, after) || a.binary == "" && a.testsChanged(in) || b.mistaken(ctx, a.how, a.tools, dir)
	if a.commands != nil && !stale && a.binary != "" {
		if err := b.prove(ctx, a, dir, p.id, in, after); err != nil {
			return false, err
		}
	}
	var entries, before []entry
	current = b.settle(p, a, func() {
		p.learned, before = true, p.entries
		if stale || a.binary == "" {
			return
		}
		e := entry{Inputs: in, Content: after.fingerprint(), Flavour: a.flavour, Toolchain: a.tools, Binary: a.binary, Size: a.size}
		p.entries = append([]entry{e}, slices.DeleteFunc(slices.Clone(p.entries), func(old entry) bool { return old.Binary == e.Binary })...)
		p.entries = p.entries[:min(len(p.entries), keptEntries)]
		entries = p.entries
	})
	if entries == nil {
		return stale && current, nil
	}
	return false, b.writeEntries(p.id, entries, before)
}

// settle calls note, holding the lock, if a is still the page's newest build.
func (b *Builder) settle(p *page, a *attempt, note func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.attempt != a {
		return false
	}
	note()
	b.indexLocked(p)
	return true
}

// changed reports whether there is something else now than the build was made
// of. Of files that it was not known to be made of only the time of their last
// change tells, and that is taken to be exact to a second only.
func (a *attempt) changed(in inputs, after snapshot) bool {
	for path, now := range after {
		before, known := a.before[path]
		switch {
		case !known && now.changed.After(a.began.Add(-time.Second)),
			known && before.content != now.content,
			known && now.content != folder && !before.changed.Equal(now.changed): // there and back
			return true
		}
	}
	for path := range a.before {
		if _, still := after[path]; !still && in.concerns(path) {
			return true
		}
	}
	return false
}

// testsChanged reports whether there are other files of tests now than when the
// build began.
func (a *attempt) testsChanged(in inputs) bool {
	after := in.tests()
	for path, now := range after {
		before, known := a.tests[path]
		if known && !before.changed.Equal(now.changed) || !known && now.changed.After(a.began.Add(-time.Second)) {
			return true
		}
	}
	for path := range a.tests {
		if _, still := after[path]; !still {
			return true
		}
	}
	return false
}

// list asks the go command for the packages of a page, also if it does not
// build. With an error it returns the page's modules only.
func (b *Builder) list(ctx context.Context, h how, dir string) (inputs, error) {
	in := h.guess(dir)
	out, err := b.run(ctx, h, dir, "list", "-e", "-deps", "-json=Dir,ImportPath,Standard,EmbedPatterns,Module", ".")
	if exit, ok := errors.AsType[*exitError](err); ok {
		err = fmt.Errorf("%s (%w)", lastLine(out.text()), exit)
	}
	if err != nil {
		return in, fmt.Errorf("ask for the imports of %s: %w", b.show(dir), err)
	}
	dirs, files := map[string]bool{dir: true}, make(map[string]bool)
	for _, f := range in.Files {
		files[f] = true
	}
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
		case l.Module != nil && l.Module.immutable():
			continue
		}
		dirs[l.Dir] = true
		if len(l.EmbedPatterns) > 0 {
			in.Embeds = append(in.Embeds, embed{Dir: l.Dir, Patterns: l.EmbedPatterns})
		}
		if l.Module != nil && l.Module.Dir != "" {
			for at := l.Dir; below(at, l.Module.Dir); at = filepath.Dir(at) {
				files[filepath.Join(at, "go.mod")] = true // a new one would make another module of it
			}
		}
	}
	// A package that does not exist yet may be on its way.
	for _, path := range missing {
		for f := range files {
			if dir, ok := packageDir(f, path); ok {
				dirs[dir] = true
			}
		}
	}
	in.Dirs = slices.Sorted(maps.Keys(dirs))
	for _, f := range linked(in.Dirs) {
		files[f] = true
	}
	in.Files = slices.Sorted(maps.Keys(files))
	return in, nil
}

// linked returns the source files outside the folders that links in them lead
// to. The go command follows links to files, and none to folders.
func linked(dirs []string) (files []string) {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // the folder counts as unreadable, and the build says why
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
// never changes. A vendored one has no folder of its own.
func (m *module) immutable() bool {
	if m.Dir == "" {
		return false
	}
	if m.Replace != nil {
		return m.Replace.Version != ""
	}
	return m.Version != ""
}

func changeTime(info os.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return statTime(stat)
	}
	return info.ModTime()
}
