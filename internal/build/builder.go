package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"tqserver/internal/project"
	"tqserver/internal/state"
)

// ErrNoGo says that there is no go command in PATH.
var ErrNoGo = errors.New("no go command in PATH: install Go from https://go.dev/dl or add its bin folder to PATH")

// Options says how to build pages, and where to put the binaries.
type Options struct {
	TempDir string // of the configuration; projects share it
	Root    string // the project's folder
	LDFlags string
	Env     map[string]string // on top of the server's own

	// Guard sees to it that a process group is killed if this process dies
	// before it calls release. Optional.
	Guard func(pgid int) (release func())
	// Watch sets the files and folders to watch because a page is built from
	// them, in place of those before. The Builder calls it before it reads
	// them. Optional.
	Watch func(page string, paths []string)
	// AwaitReadable gets files that could not be read. A change of their mode
	// should then count as a change of the files. Optional.
	AwaitReadable func(files []string)
	// Notify gets warnings about how pages are built, each once. Optional.
	Notify func(text string)
}

// Builder builds pages, named by their folder. Its methods may be called from
// any goroutine, but for one page only one at a time.
type Builder struct {
	opts Options
	temp string // TempDir without links
	dir  string // the project's own folder below temp

	lookups *limiter
	goEnv   *limiter // one at a time: the result for one page holds for most
	queue   *queue

	watching sync.Mutex // held while Watch is called

	mu         sync.Mutex // guards all below, and the fields of each page
	pages      map[string]*page
	index      index
	claim      *os.File          // on dir
	folder     [2]fs.FileInfo    // temp and dir, as they were made
	toolchains map[string]string // by toolchainKey
	notified   map[string]bool   // warnings
}

// page is what is known of one page.
type page struct {
	dir           string
	id            string
	inputs        inputs          // what it is built from; a guess until go list has run
	shape         string          // while it stays the same, so do the inputs; empty if unknown
	path          string          // import path; empty if unknown
	inputsUnknown bool            // go list failed
	broken        bool            // the newest build failed
	candidates    []entry         // binaries that a lookup compares with what is on disk
	entries       []entry         // binaries, newest first
	keep          map[string]bool // binaries that Sweep leaves
	attempt       *attempt        // the newest build; nil if Optimize has nothing to do
	requested     bool            // Build was called for it before
}

// Result is what came of a build.
type Result struct {
	Binary       string // absolute path, empty if there are problems
	Cached       bool   // nothing was compiled
	RolledBackTo string // the binary that replaced it when it last ran; see Builder.RecordRollback
	Stale        bool   // files changed meanwhile, perhaps unnoticed: build again
	Took         time.Duration
	Problems     []state.Problem
	InputsErr    error // why the inputs of the binary are not known, or not recorded
}

// New returns a Builder. It makes TempDir if there is none, and refuses one that
// others can write to.
func New(opts Options) (*Builder, error) {
	dir, claim, err := makeFolder(opts.TempDir, opts.Root)
	if err != nil {
		return nil, err
	}
	b := &Builder{
		opts: opts, temp: filepath.Dir(dir), dir: dir, claim: claim, lookups: newLimiter(runtime.NumCPU()), goEnv: newLimiter(1),
		pages: make(map[string]*page), toolchains: make(map[string]string), notified: make(map[string]bool),
	}
	b.queue = newQueue(runtime.NumCPU(), b.buildBatch)
	if b.folder, err = b.statFolder(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Build makes the binary of the page in dir, or finds it if nothing has changed
// since it was made. When Build returns, a later server can find it too. Compiler
// errors are the result's problems; an error means that the compiler could not
// do its work, or that ctx ended. With force Build compiles although nothing has
// changed.
func (b *Builder) Build(ctx context.Context, dir string, force bool) (Result, error) {
	a := b.newAttempt(dir, force)
	defer b.queue.clearPriority(dir)
	if e, err := b.lookup(ctx, a); e.Binary != "" || err != nil {
		return b.cachedResult(a, e, err)
	}
	defer func() { b.queue.finish(a.job, a.alone) }()
	defer os.Remove(a.tmp)
	out, err := b.makeBinary(ctx, a)
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	return b.finish(a, out, err)
}

// Keep sets the binaries of a page that Sweep leaves: the running one and the
// good one before it.
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
// recorded of it.
func (b *Builder) Track(dir string) { b.page(dir) }

// Expect announces a call of Build for a page. Other pages that need the compiler
// wait for it, so that one go command builds all.
func (b *Builder) Expect(dir string) {
	p := b.page(dir)
	b.mu.Lock()
	fresh := len(p.entries) == 0
	b.mu.Unlock()
	b.queue.expect(dir, fresh)
}

// Prioritize puts a page that is being built, or is about to be, before others,
// because people wait for it.
func (b *Builder) Prioritize(dir string) { b.queue.prioritize(dir) }

// Forget drops what is known of a page that no longer exists. Sweep removes its
// binaries.
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
	clear(b.toolchains)
}

// page returns what is known of a page. The first call reads what an earlier
// server recorded.
func (b *Builder) page(dir string) *page {
	env := b.environment()
	b.mu.Lock()
	p := b.pages[dir]
	if p != nil {
		b.mu.Unlock()
		return p
	}
	sum := sha256.Sum256([]byte(dir))
	p = &page{dir: dir, id: slug(b.show(dir)) + "-" + hex.EncodeToString(sum[:5]), inputs: env.guessInputs(dir)}
	p.entries = b.readEntries(p.id)
	if len(p.entries) > 0 {
		p.inputs, p.shape = p.entries[0].Inputs, p.entries[0].Shape
	}
	b.pages[dir] = p
	b.indexLocked(p)
	b.mu.Unlock()
	b.watch(p)
	return p
}

// watch watches all that a page can be built from, and nothing if the page is
// gone.
func (b *Builder) watch(p *page) {
	if b.opts.Watch == nil {
		return
	}
	b.watching.Lock() // or an older call could overwrite a newer one
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

// notifyOnce passes a warning on unless it has done so before.
func (b *Builder) notifyOnce(text string) {
	b.mu.Lock()
	known := b.notified[text]
	b.notified[text] = true
	b.mu.Unlock()
	if !known && b.opts.Notify != nil {
		b.opts.Notify(text)
	}
}

func (b *Builder) awaitReadable(s snapshot) {
	if files := s.denied(); len(files) > 0 && b.opts.AwaitReadable != nil {
		b.opts.AwaitReadable(files)
	}
}

func (b *Builder) show(path string) string { return project.Show(b.opts.Root, path) }

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
