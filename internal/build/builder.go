package build

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tqserver/internal/state"
)

// ErrNoGo says that there is no go command in PATH.
var ErrNoGo = errors.New("no go command in PATH: install Go from https://go.dev/dl or add its bin folder to PATH")

// Options says how to build and where to.
type Options struct {
	TempDir string // of the configuration; projects share it
	Root    string // the project's folder
	LDFlags string
	Env     map[string]string // on top of the server's own

	// Guard has a process group killed should this process die before release
	// is called. Optional.
	Guard func(pgid int) (release func())
	// Watch gets the files and folders that are to be watched because a page is
	// built from them, in place of those before. It is called before they are
	// looked at. Optional.
	Watch func(page string, paths []string)
	// Await gets files that could not be read: it is to be told when they can
	// be. Optional.
	Await func(files []string)
	// Say is told, once each, what people should know of how pages are built.
	// Optional.
	Say func(text string)
}

// Builder builds pages, named by their folder. Its methods may be called from
// any goroutine, but for one page only one at a time.
type Builder struct {
	opts Options
	temp string // TempDir without links
	dir  string // the project's own below it

	watching sync.Mutex // held while Watch is called

	mu     sync.Mutex // guards all below, and the fields of each page
	pages  map[string]*page
	index  index
	chosen map[string]string // toolchains, by what chose them
	said   map[string]bool
}

// page is what is known of one page.
type page struct {
	dir     string
	id      string
	inputs  inputs  // what it is made of; only a guess until it was learned
	learned bool    // inputs are of the newest build
	blind   bool    // they could not be learned
	looking []entry // one of these may be what is on disk: it is being looked at
	entries []entry // binaries, newest first
	keep    map[string]bool
	attempt *attempt // nil if there is nothing to learn
	asked   bool     // for a build, before, of this server
}

// attempt is the newest build, for Learn. It is never written to.
type attempt struct {
	how     how
	flavour string
	tools   string
	began   time.Time
	before  snapshot // of the known inputs when it began
	tests   snapshot // of the files of tests beside them
	binary  string   // empty if it failed
	size    int64

	commands *commands // that the go command ran, if a plan can be made of them
	followed *plan     // nil if the go command built
}

// Result is what came of a build.
type Result struct {
	Binary   string // absolute path, empty if there are problems
	Cached   bool   // nothing was compiled
	Took     time.Duration
	Problems []state.Problem
}

// New returns a Builder. It makes TempDir if need be, and refuses one that
// others could put binaries into.
func New(opts Options) (*Builder, error) {
	dir, err := makeFolder(opts.TempDir, opts.Root)
	if err != nil {
		return nil, err
	}
	return &Builder{opts: opts, temp: filepath.Dir(dir), dir: dir, pages: make(map[string]*page), chosen: make(map[string]string), said: make(map[string]bool)}, nil
}

// Build makes the binary of the page in dir. Compiler errors are the result's
// problems; an error means that the compiler could not do its work, or the
// context's. With force it compiles although nothing changed.
func (b *Builder) Build(ctx context.Context, dir string, force bool) (Result, error) {
	began := time.Now()
	if err := b.keepFolder(); err != nil {
		return Result{}, fmt.Errorf("build %s: %w", b.show(dir), err)
	}
	p := b.page(dir)
	a := attempt{how: b.how(), began: began}
	a.flavour = a.how.flavour()
	var err error
	if a.tools, err = b.toolchain(ctx, a.how, dir); err != nil {
		return Result{}, err
	}
	var r reading
	if !force {
		if binary, ok := b.reuse(p, a.flavour, a.tools, &r); ok {
			return Result{Binary: binary, Cached: true, Took: time.Since(began)}, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	b.mu.Lock()
	in, again := p.inputs, p.asked || len(p.entries) > 0
	p.asked = true
	b.mu.Unlock()
	known := b.readPlan(p.id)
	a.before, a.tests = r.of(in), in.tests()
	b.await(a.before)
	tmp := b.tempName(p.id)
	defer os.Remove(tmp)
	var out output
	fits := known.fits(&r, a.flavour, a.tools)
	misled := false
	if fits && !force {
		misled = b.follow(ctx, &known.Commands, a.how, dir, tmp) != nil
		if !misled {
			a.followed = known
		}
	}
	if a.followed == nil {
		out, err = b.compile(ctx, &a, dir, tmp, in.editorFiles(), again && !fits)
	}
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	defer func() {
		b.mu.Lock()
		p.attempt, p.learned = &a, false
		b.mu.Unlock()
		if misled && a.binary != "" {
			os.Remove(b.planFile(p.id)) // what it reads is not there any more
		}
	}()
	if err != nil {
		return b.failure(dir, out, err, time.Since(began))
	}
	a.binary, a.size, err = b.place(tmp, p.id)
	switch {
	case errors.Is(err, errLibrary):
		return Result{Problems: []state.Problem{notMain(dir, b.opts.Root)}, Took: time.Since(began)}, nil
	case err != nil:
		return Result{}, fmt.Errorf("build %s: %w", b.show(dir), err)
	}
	return Result{Binary: filepath.Join(b.dir, a.binary), Took: time.Since(began)}, nil
}

// compile has the go command make the binary, without the files of editors. If
// one that was not known is what it blames, it is asked again without that.
func (b *Builder) compile(ctx context.Context, a *attempt, dir, tmp string, hidden []string, plan bool) (output, error) {
	out, err := b.compileWithout(ctx, a, dir, tmp, hidden, plan)
	if exit, ok := errors.AsType[*exitError](err); !ok || exit == nil || ctx.Err() != nil {
		return out, err
	}
	blamed, any := blames(out.text(), dir)
	if !any {
		return out, err
	}
	os.Remove(tmp)
	return b.compileWithout(ctx, a, dir, tmp, append(blamed, hidden...), false)
}

// compileWithout has the go command make the binary as if files were not there.
// If it is to be planned how to do without the go command, that is asked for
// too.
func (b *Builder) compileWithout(ctx context.Context, a *attempt, dir, tmp string, hidden []string, plan bool) (output, error) {
	args := []string{"build", "-json", "-buildvcs=false", "-ldflags=" + a.how.linkerFlags(), "-o", tmp, "."}
	if len(hidden) > 0 {
		overlay := b.tempName(filepath.Base(tmp))
		defer os.Remove(overlay)
		if err := a.how.hide(hidden, dir, overlay); err == nil { // or else the build says what is wrong with that of GOFLAGS
			args = slices.Insert(args, 1, "-overlay="+overlay)
		}
	}
	if plan {
		out, err := b.run(ctx, a.how, dir, slices.Insert(slices.Clone(args), 1, "-x")...)
		if err == nil {
			a.commands = commandsOf(out.stdout.Bytes(), dir)
			return out, nil
		}
		if ctx.Err() != nil {
			return out, err
		}
		os.Remove(tmp) // what is wrong stands among what was run: it is asked for again
	}
	return b.run(ctx, a.how, dir, args...)
}

// failure tells what the compiler says of the program from what keeps it from
// working.
func (b *Builder) failure(dir string, out output, err error, took time.Duration) (Result, error) {
	var exit *exitError
	if !errors.As(err, &exit) {
		return Result{}, err
	}
	problems := parseProblems(out.text(), dir, b.opts.Root)
	for _, p := range problems {
		if reason := notOfProgram(p); reason != nil {
			return Result{}, fmt.Errorf("build %s: %w", b.show(dir), obstacle{p.Message, reason})
		}
	}
	if len(problems) == 0 {
		return Result{}, fmt.Errorf("build %s: %w", b.show(dir), err)
	}
	return Result{Problems: problems, Took: took}, nil
}

// Keep says which binaries of a page the sweep must leave: the running one and
// the good one before it.
func (b *Builder) Keep(dir string, binaries ...string) {
	p := b.page(dir)
	b.mu.Lock()
	defer b.mu.Unlock()
	p.keep = make(map[string]bool)
	for _, path := range binaries {
		p.keep[filepath.Base(path)] = true
	}
}

// Track makes a page known before it is built, with what an earlier server
// wrote down of it.
func (b *Builder) Track(dir string) { b.page(dir) }

// Forget drops what is known of a page that is gone. Its binaries are left to
// the sweep.
func (b *Builder) Forget(dir string) {
	b.mu.Lock()
	p := b.pages[dir]
	delete(b.pages, dir)
	if p != nil {
		b.index.remove(p)
	}
	b.mu.Unlock()
	if p != nil {
		b.watch(p)
	}
}

// Configure changes how pages are built from the next build on.
func (b *Builder) Configure(ldflags string, env map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opts.LDFlags, b.opts.Env = ldflags, env
	clear(b.chosen)
}

// page returns what is known of a page, reading what an earlier server wrote
// down at the first call.
func (b *Builder) page(dir string) *page {
	h := b.how()
	b.mu.Lock()
	p := b.pages[dir]
	if p != nil {
		b.mu.Unlock()
		return p
	}
	sum := sha256.Sum256([]byte(dir))
	p = &page{dir: dir, id: slug(b.show(dir)) + "-" + hex.EncodeToString(sum[:5]), inputs: h.guess(dir)}
	p.entries = b.readEntries(p.id)
	if len(p.entries) > 0 {
		p.inputs = p.entries[0].Inputs
	}
	b.pages[dir] = p
	b.indexLocked(p)
	b.mu.Unlock()
	b.watch(p)
	return p
}

// errLibrary says that what was built is not a program.
var errLibrary = errors.New("not a program")

// place gives a binary its name, made from its content, so that the same
// program is the same file and a name never changes its meaning. A file of that
// name is replaced: it may be damaged.
func (b *Builder) place(tmp, id string) (name string, size int64, err error) {
	f, err := os.Open(tmp)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h, head := sha256.New(), bufio.NewReaderSize(f, 1<<16)
	if magic, _ := head.Peek(len(archive)); string(magic) == archive {
		return "", 0, errLibrary
	}
	if size, err = io.Copy(h, head); err != nil {
		return "", 0, err
	}
	name = id + "-" + hex.EncodeToString(h.Sum(nil)[:8])
	final := filepath.Join(b.dir, name)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := os.Rename(tmp, final); err != nil {
		return "", 0, err
	}
	return name, size, nil
}

// archive begins what the go command makes of a package that is not main.
const archive = "!<arch>\n"

// tempName names a file that is still being written. Nobody else writes to it:
// servers in containers share the folder, and may have the same process id.
func (b *Builder) tempName(of string) string {
	return filepath.Join(b.dir, of+"."+rand.Text()+".tmp")
}

// watch has all watched that a page is made of, and nothing if it is gone.
func (b *Builder) watch(p *page) {
	if b.opts.Watch == nil {
		return
	}
	b.watching.Lock() // or what was is set after what is
	defer b.watching.Unlock()
	b.mu.Lock()
	var all []inputs
	if b.pages[p.dir] == p {
		all = p.possible()
	}
	b.mu.Unlock()
	var paths []string
	for _, in := range all {
		paths = append(paths, in.watched()...)
	}
	slices.Sort(paths)
	b.opts.Watch(p.dir, slices.Compact(paths))
}

// sayOnce tells people something that it has not told them yet.
func (b *Builder) sayOnce(text string) {
	b.mu.Lock()
	known := b.said[text]
	b.said[text] = true
	b.mu.Unlock()
	if !known && b.opts.Say != nil {
		b.opts.Say(text)
	}
}

func (b *Builder) await(s snapshot) {
	if files := s.denied(); len(files) > 0 && b.opts.Await != nil {
		b.opts.Await(files)
	}
}

func (b *Builder) show(path string) string { return show(path, b.opts.Root) }

// show makes a path relative to root where it lies below it.
func show(path, root string) string {
	if rel, err := filepath.Rel(root, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// slug makes a name that is readable in a listing and safe in a path.
func slug(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '-'
	}, s)
	return strings.Trim(s[max(0, len(s)-40):], "-")
}

// secureDir makes dir, or refuses it if somebody else could put a program
// there that would be run. It returns dir without links, which somebody else
// could set to another place later.
func secureDir(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("workers.temp_dir: %w", err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("workers.temp_dir: %w", err)
	}
	for at := real; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return "", fmt.Errorf("workers.temp_dir: %w", err)
		}
		owner := int(info.Sys().(*syscall.Stat_t).Uid)
		reason := ""
		switch mode := info.Mode(); {
		case at == real && owner != os.Getuid():
			reason = fmt.Sprintf("belongs to user %d, not to you (%d)", owner, os.Getuid())
		case at == real && mode.Perm()&0o022 != 0:
			reason = fmt.Sprintf("may be written to by others (mode %04o): chmod 0700 it", mode.Perm())
		case owner != os.Getuid() && owner != 0:
			reason = fmt.Sprintf("lies in %s, which belongs to user %d", at, owner)
		case mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0:
			reason = fmt.Sprintf("lies in %s, which everybody may write to", at)
		}
		if reason != "" {
			return "", fmt.Errorf("workers.temp_dir: %s %s; what lies there is executed, so use a folder of your own", dir, reason)
		}
		if at == filepath.Dir(at) {
			return real, nil
		}
	}
}
