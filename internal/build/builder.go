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
	// AwaitReadable gets files that could not be read: it is to be told when they can
	// be. Optional.
	AwaitReadable func(files []string)
	// Notify is told, once each, what people should know of how pages are built.
	// Optional.
	Notify func(text string)
}

// Builder builds pages, named by their folder. Its methods may be called from
// any goroutine, but for one page only one at a time.
type Builder struct {
	opts Options
	temp string // TempDir without links
	dir  string // the project's own below it

	lookups *limiter
	goEnv   *limiter // one: what is asked for one page holds for most
	queue   *queue

	watching sync.Mutex // held while Watch is called

	mu         sync.Mutex // guards all below, and the fields of each page
	pages      map[string]*page
	index      index
	claim      *os.File          // on dir
	folder     [2]fs.FileInfo    // temp and dir, as they were made
	toolchains map[string]string // toolchains, by what chose them
	notified   map[string]bool
}

// page is what is known of one page.
type page struct {
	dir           string
	id            string
	inputs        inputs  // what it is made of; only a guess until go list was asked
	shape         string  // while it stays, that is what it is made of; empty if that is not known
	path          string  // by which it is imported; empty if that is not known
	inputsUnknown bool    // it cannot be found out
	broken        bool    // the newest build failed
	candidates    []entry // one of these may be what is on disk: it is being looked at
	entries       []entry // binaries, newest first
	keep          map[string]bool
	attempt       *attempt // nil if there is nothing to learn
	requested     bool     // for a build, before, of this server
}

// attempt is a build.
type attempt struct {
	*job
	page       *page
	dir        string
	force      bool
	env        environment
	settings   string
	tools      string
	began      time.Time
	plan       *plan    // nil if the go command is to build
	known      bool     // what the page is made of
	before     snapshot // of what it seemed to be made of when the build began
	tests      snapshot // of the files of tests beside that
	alone      bool     // the binary was not made by a batch
	tmp        string   // the binary, before it has its name
	planFailed bool     // the plan cannot be followed
	binary     string   // empty if the build failed
	size       int64

	listed   *listing  // nil if go list was not asked
	ranPlan  *plan     // nil if the go command built
	commands *commands // that the go command ran, if a plan can be made of them
	inputs   inputs    // what the binary was made of
	after    snapshot  // of them, when it was made
}

// Result is what came of a build.
type Result struct {
	Binary       string // absolute path, empty if there are problems
	Cached       bool   // nothing was compiled
	RolledBackTo string // the binary that took its place when it was last run; see Builder.RecordRollback
	Stale        bool   // files changed meanwhile, perhaps unheard: build again
	Took         time.Duration
	Problems     []state.Problem
	InputsErr    error // why it cannot be told, or written down, what the binary is made of
}

// New returns a Builder. It makes TempDir if need be, and refuses one that
// others could put binaries into.
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

// Build makes the binary of the page in dir. What a later start needs to find
// it again is on disk when Build returns. Compiler errors are the result's
// problems; an error means that the compiler could not do its work, or the
// context's. With force it compiles although nothing changed.
func (b *Builder) Build(ctx context.Context, dir string, force bool) (Result, error) {
	a := b.attempt(dir, force)
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

func (b *Builder) attempt(dir string, force bool) *attempt {
	a := &attempt{page: b.page(dir), dir: dir, force: force, env: b.environment(), began: time.Now()}
	a.settings = a.env.settingsHash()
	return a
}

// finish is the end of a build that was not cancelled.
func (b *Builder) finish(a *attempt, out output, err error) (Result, error) {
	res, err := b.result(a, out, err)
	res.Took = time.Since(a.began)
	res.Stale, res.InputsErr = b.record(a)
	if a.after != nil && a.binary != "" && (a.commands != nil || a.env.shim) {
		b.mu.Lock()
		a.page.attempt = a
		b.mu.Unlock()
	}
	return res, err
}

// cachedResult is the end of a build that was made before.
func (b *Builder) cachedResult(a *attempt, e entry, err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	res := Result{Binary: filepath.Join(b.dir, e.Binary), Cached: true, Took: time.Since(a.began)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.RolledBackTo != "" && b.touchLocked(e.RolledBackTo) {
		res.RolledBackTo = filepath.Join(b.dir, e.RolledBackTo)
	}
	return res, nil
}

// lookup returns a binary that was made before of what is on disk. If there is
// none it prepares the build.
func (b *Builder) lookup(ctx context.Context, a *attempt) (made entry, err error) {
	p := a.page
	b.mu.Lock()
	fresh, first := len(p.entries) == 0, !p.requested
	p.requested, p.attempt = true, nil
	b.mu.Unlock()
	b.queue.expect(a.dir, fresh)
	defer func() { b.queue.lookupEnded(a.dir, a.job) }()
	if err := b.keepFolder(); err != nil {
		return entry{}, fmt.Errorf("build %s: %w", b.show(a.dir), err)
	}
	release, err := b.lookups.acquire(ctx, func() int { return b.queue.priority(a.dir) })
	if err != nil {
		return entry{}, err
	}
	defer release()
	if a.tools, err = b.toolchain(ctx, a.env, a.dir); err != nil {
		return entry{}, err
	}
	var r snapshotCache
	if !a.force {
		if e, ok := b.reuse(p, a.settings, a.tools, &r); ok {
			return e, nil
		}
	}
	b.mu.Lock()
	in, shape, path := p.inputs, p.shape, p.path
	if p.broken { // perhaps so that the go command would build no other beside it
		path = ""
	}
	b.mu.Unlock()
	known := b.readPlan(p.id)
	fits := known.matches(&r, a.settings, a.tools)
	if fits && !a.force {
		a.plan, a.known = known, true
		in = known.Inputs
	} else if a.known = shape != "" && shape == a.shape(in); !a.known {
		in = in.withImports()
	}
	a.before, a.tests = r.snapshot(in), in.tests()
	b.awaitReadable(a.before)
	a.tmp = b.tempName(p.id)
	if err := ctx.Err(); err != nil {
		return entry{}, err
	}
	a.job = newJob(ctx, a.dir, a.env)
	a.job.first, a.job.wantPlan, a.job.hidden = first, (!first || !fresh) && !fits, in.editorFiles()
	if a.job.stamps, err = b.stamps(in, a.before); err != nil {
		return entry{}, err
	}
	if a.job.module = a.env.moduleFile(a.dir); a.job.module != "" && a.plan == nil {
		a.job.key = fmt.Sprintf("%s\n%s\n%s", a.job.module, a.settings, a.tools)
	}
	if a.known {
		a.job.path = path
	}
	return entry{}, nil
}

// makeBinary makes the binary when it is the page's turn, if a batch does not do so
// first.
func (b *Builder) makeBinary(ctx context.Context, a *attempt) (out output, err error) {
	m, alone, err := b.queue.wait(ctx, a.job)
	switch {
	case err != nil:
		return out, err
	case !alone:
		a.listed, a.commands = m.listed, m.commands
		return out, os.Rename(m.file, a.tmp)
	}
	a.alone = true
	if a.plan != nil {
		if b.runCommands(ctx, &a.plan.Commands, a.env, a.tmp) == nil {
			a.ranPlan = a.plan
			return out, nil
		}
		a.planFailed, a.known = true, false
	}
	var listing sync.WaitGroup
	defer listing.Wait()
	if !a.known {
		listing.Go(func() { // ends with ctx, or by itself
			l := b.list(ctx, a.env, a.dir, []string{a.dir})[a.dir]
			a.listed = &l
		})
	}
	return b.compile(ctx, a)
}

// maxAttempts bounds how often a build is made that failed for nothing of the
// program.
const maxAttempts = 4

// compile has the go command make the binary, without the files of editors. It is
// asked again if it blames one that was not known, or if it lost what it had
// compiled: somebody emptied its cache.
func (b *Builder) compile(ctx context.Context, a *attempt) (output, error) {
	hidden, plan := a.hidden, a.wantPlan
	for attempts, looked := 1, false; ; attempts++ {
		out, err := b.compileWithout(ctx, a, hidden, plan)
		if _, ok := errors.AsType[*exitError](err); !ok || ctx.Err() != nil || attempts == maxAttempts {
			return out, err
		}
		text := out.text()
		blamed, blames := blamedFiles(text, a.dir)
		switch {
		case lostCache(text):
		case blames && !looked:
			hidden, looked = append(blamed, hidden...), true
		default:
			return out, err
		}
		plan = false
		os.Remove(a.tmp)
	}
}

// compileWithout has the go command make the binary as if files were not there.
// If it is to be planned how to do without the go command, that is asked for
// too.
func (b *Builder) compileWithout(ctx context.Context, a *attempt, hidden []string, plan bool) (output, error) {
	args := []string{"build", "-json", "-buildvcs=false", "-ldflags=" + a.env.linkerFlags(), "-o", a.tmp, "."}
	if len(hidden)+len(a.job.stamps) > 0 {
		overlay := b.tempName("overlay")
		defer os.Remove(overlay)
		if err := a.env.overlay(hidden, a.job.stamps, a.dir, overlay); err == nil { // or else the build says what is wrong with that of GOFLAGS
			args = slices.Insert(args, 1, "-overlay="+overlay)
		}
	}
	if plan {
		out, err := b.run(ctx, a.env, a.dir, slices.Insert(slices.Clone(args), 1, "-x")...)
		if err == nil {
			a.commands = parseCommands(out.stdout.Bytes(), a.dir)
			return out, nil
		}
		if ctx.Err() != nil {
			return out, err
		}
		os.Remove(a.tmp) // what is wrong stands among what was run: it is asked for again
	}
	return b.run(ctx, a.env, a.dir, args...)
}

// result gives the binary its name, or tells why there is none.
func (b *Builder) result(a *attempt, out output, err error) (Result, error) {
	if err != nil {
		return b.failure(a.dir, out, err)
	}
	a.binary, a.size, err = b.store(a.tmp, a.page.id)
	switch {
	case errors.Is(err, errLibrary):
		return Result{Problems: []state.Problem{notMain(a.dir, b.opts.Root)}}, nil
	case err != nil:
		return Result{}, fmt.Errorf("build %s: %w", b.show(a.dir), err)
	}
	if a.planFailed {
		os.Remove(b.planFile(a.page.id)) // what it reads is not there any more
	}
	return Result{Binary: filepath.Join(b.dir, a.binary)}, nil
}

// failure tells what the compiler says of the program from what keeps it from
// working.
func (b *Builder) failure(dir string, out output, err error) (Result, error) {
	var exit *exitError
	if !errors.As(err, &exit) {
		return Result{}, err
	}
	problems := parseProblems(out.text(), dir, b.opts.Root)
	for _, p := range problems {
		if reason := toolFailure(p); reason != nil {
			return Result{}, fmt.Errorf("build %s: %w", b.show(dir), toolError{p.Message, reason})
		}
	}
	for i, p := range problems {
		problems[i] = withHint(p, dir, b.opts.Root)
	}
	if len(problems) == 0 {
		return Result{}, fmt.Errorf("build %s: %w", b.show(dir), err)
	}
	return Result{Problems: problems}, nil
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

// Expect says that Build is about to be called for a page. Others that need the
// compiler wait for it, so that one go command builds all.
func (b *Builder) Expect(dir string) {
	p := b.page(dir)
	b.mu.Lock()
	fresh := len(p.entries) == 0
	b.mu.Unlock()
	b.queue.expect(dir, fresh)
}

// Prioritize says that people wait for a page that is being built, or is about to be:
// it goes before others.
func (b *Builder) Prioritize(dir string) { b.queue.prioritize(dir) }

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
	clear(b.toolchains)
}

// page returns what is known of a page, reading what an earlier server wrote
// down at the first call.
func (b *Builder) page(dir string) *page {
	h := b.environment()
	b.mu.Lock()
	p := b.pages[dir]
	if p != nil {
		b.mu.Unlock()
		return p
	}
	sum := sha256.Sum256([]byte(dir))
	p = &page{dir: dir, id: slug(b.show(dir)) + "-" + hex.EncodeToString(sum[:5]), inputs: h.guessInputs(dir)}
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

// errLibrary says that what was built is not a program.
var errLibrary = errors.New("not a program")

// store gives a binary its name, made from its content, so that the same
// program is the same file and a name never changes its meaning. A file of that
// name is replaced: it may be damaged.
func (b *Builder) store(tmp, id string) (name string, size int64, err error) {
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

// notifyOnce tells people something that it has not told them yet.
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
