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
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"tqserver/internal/project"
)

// listed is what is asked of go list.
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

// listing is what go list says of a page.
type listing struct {
	inputs     inputs
	importPath string
	incomplete bool
	err        error // then the inputs are the page's modules only
}

// record notes what a build was made of, has that watched, and writes down what
// a later start needs to find the binary. It reports whether any of it changed
// since the build began: the binary is stale then, and nobody's.
func (b *Builder) record(a *attempt) (stale bool, doubt error) {
	p := a.page
	b.mu.Lock()
	in, shape := p.inputs, p.shape
	b.mu.Unlock()
	known := in
	switch {
	case a.ranPlan != nil:
		if !reflect.DeepEqual(in, a.ranPlan.Inputs) {
			in, shape = a.ranPlan.Inputs, ""
		}
	case a.listed == nil:
	case a.listed.err != nil: // of what was known nothing is less true, and the go.mod that is wrong will change
		doubt = a.listed.err
		in.Files, shape = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(in.Files), a.listed.inputs.Files...)))), ""
	default:
		in, shape = a.listed.inputs, ""
	}
	// Changes are heard of from here on, before anything is read.
	b.mu.Lock()
	p.inputs, p.shape, p.inputsUnknown, p.broken = in, "", doubt != nil, a.binary == ""
	if a.listed != nil {
		p.path = a.listed.importPath
	}
	b.indexLocked(p)
	b.mu.Unlock()
	if !reflect.DeepEqual(in, known) {
		b.watch(p)
	}
	if doubt != nil {
		return false, doubt
	}
	after := in.snapshotSince(a.before, a.began)
	b.awaitReadable(after)
	if a.changed(in, after) || a.binary == "" && a.testsChanged(in) || in.unstamped(a.job.stamps) {
		return true, nil
	}
	if shape == "" && a.ranPlan == nil {
		shape = a.shape(in)
	}
	a.inputs, a.after = in, after
	e := entry{Inputs: in, Shape: shape, Content: after.fingerprint(), Settings: a.settings, Toolchain: a.tools, Binary: a.binary, Size: a.size}
	b.mu.Lock()
	before := p.entries
	p.shape = shape
	if a.binary != "" {
		p.entries = append([]entry{e}, slices.DeleteFunc(slices.Clone(before), func(old entry) bool { return old.Binary == e.Binary })...)
		p.entries = p.entries[:min(len(p.entries), maxEntries)]
	}
	entries := p.entries
	b.mu.Unlock()
	if a.binary == "" {
		return false, nil
	}
	return false, b.writeEntries(p.id, entries, before)
}

// Optimize finds out how later builds of a page can be faster, and whether another
// toolchain builds it than was thought: the newest build is stale then. It works
// only while nobody waits for a build, and begins anew when somebody did.
func (b *Builder) Optimize(ctx context.Context, dir string) (stale bool, err error) {
	for {
		b.mu.Lock()
		p := b.pages[dir]
		var a *attempt
		if p != nil {
			a = p.attempt
		}
		b.mu.Unlock()
		if a == nil {
			return false, nil
		}
		idle, release, err := b.queue.awaitIdle(ctx)
		if err != nil {
			return false, err
		}
		stale = b.toolchainChanged(idle, a.env, a.tools, dir)
		if !stale && a.commands != nil {
			err = b.verifyPlan(idle, a)
		}
		disturbed := idle.Err() != nil
		release()
		if disturbed && ctx.Err() == nil {
			continue
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if p.attempt != a {
			return false, err
		}
		p.attempt = nil
		return stale, err
	}
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
		if _, still := after[path]; !still && in.affectedBy(path) {
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

// list asks a go command in a folder for the packages of pages, also of those
// that do not build.
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

// folderArgs are folders as arguments of a go command that runs in a folder.
func folderArgs(at string, dirs []string) (args []string) {
	for _, dir := range dirs {
		if rel, err := filepath.Rel(at, dir); err == nil {
			args = append(args, "./"+filepath.ToSlash(rel))
		}
	}
	return args
}

// collect takes what concerns the page in dir.
func (l *listing) collect(dir, root string, packages map[string]listed) {
	var paths []string
	for path, p := range packages {
		if !p.DepOnly && p.Dir == dir {
			l.importPath, l.incomplete = path, p.Incomplete
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 { // the go command finds it in no module
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
	l.inputs.Dirs = slices.Sorted(maps.Keys(dirs))
	for _, f := range linkTargets(l.inputs.Dirs) {
		files[f] = true
	}
	l.inputs.Files = slices.Sorted(maps.Keys(files))
	slices.SortStableFunc(l.inputs.Embeds, func(x, y embed) int { return strings.Compare(x.Dir, y.Dir) })
}

// linkTargets returns the source files outside the folders that links in them lead
// to. The go command follows links to files, and none to folders.
func linkTargets(dirs []string) (files []string) {
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

// node tells files of one disk apart.
func node(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Ino)
	}
	return 0
}
