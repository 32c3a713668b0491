package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"tqserver/internal/build"
	"tqserver/internal/config"
	"tqserver/internal/load"
	"tqserver/internal/process"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// Options is what New needs.
type Options struct {
	Config      *config.Config
	Store       *state.Store
	Proxy       *proxy.Proxy // gets the routes
	Development bool

	// OpenLog opens the log file for the output of a page's workers.
	OpenLog func(name config.LogFile, page string) Log
	// Watch sets the paths to watch for a page, instead of those set before: the
	// files and folders that it is built from.
	Watch func(page string, paths []string)
	// AwaitReadable asks to report files that cannot be read now when they can.
	AwaitReadable func(files []string)
	// SetPages receives the folders of all pages, by route.
	SetPages func(dirs map[string]string)
}

// Log is a log file.
type Log interface {
	io.WriteCloser
	Path() string // of the present file, whose name may hold the date
}

// Supervisor runs all pages.
type Supervisor struct {
	*deps
	parent        *process.Parent
	build         *build.Builder
	proxy         *proxy.Proxy
	setPages      func(dirs map[string]string)
	awaitReadable func(files []string)
	sampler       *load.Sampler
	tempDir       string // in use since the start, whatever is configured now

	calls   chan func() // made by Run
	routed  chan struct{}
	done    chan struct{}
	mu      sync.Mutex // guards pending
	pending changes
	wake    chan struct{} // holds one: there are changes

	// The rest belongs to Run.
	cfg           *config.Config
	rootID        folderID
	rootMissing   bool                  // the project's folder is missing, and an event says so
	rootMissingAt time.Time             // when it counts as missing; zero while it exists
	pages         map[string]*pageActor // by route
	byFolder      map[string]*pageActor // the same pages, by folder
	folders       pageFolders
	conflicts     map[string][]string // folders by route
	unreadable    map[string]error    // folders that cannot be read, and why
	removeAt      map[string]time.Time
	removalTimer  *time.Timer
	actors        sync.WaitGroup
}

// pageActor is an actor as the Supervisor knows it.
type pageActor struct {
	*actor
	cancel context.CancelFunc
	folder string // of the page, which belongs to Run
}

// RunGuardian reports whether this process was started to guard the workers of
// another, and has done its work. Call it first in main.
func RunGuardian() bool { return process.RunGuardian() }

// RunInit reports whether this is the first process of a container. If so, it has run
// the program as its child, and main should exit with code. Call it before main
// starts anything.
func RunInit() (code int, is bool) { return process.RunInit() }

// sweepEvery is how often old binaries are removed.
const sweepEvery = time.Hour

// New returns a Supervisor, and starts the guardian of the workers. Call Run, which
// stops it.
func New(opts Options) (*Supervisor, error) {
	cfg := opts.Config
	parent, err := process.NewParent()
	if err != nil {
		return nil, err
	}
	b, instead, err := newBuilder(build.Options{
		TempDir: cfg.Workers.TempDir, Root: cfg.Root, LDFlags: cfg.Build.LDFlags, Env: cfg.Build.Env,
		Guard: parent.Guard, Watch: opts.Watch, AwaitReadable: opts.AwaitReadable,
		Notify: func(text string) { opts.Store.Publish(state.Event{Level: state.LevelWarn, Message: text}) },
	}, cfg.Workers.TempDir == config.Default(cfg.Root).Workers.TempDir)
	if err != nil {
		parent.Close()
		return nil, err
	}
	s := &Supervisor{
		deps: &deps{
			root: cfg.Root, store: opts.Store, builder: b, openLog: opts.OpenLog,
			ports:      newPorts(cfg.Workers.PortRangeStart, cfg.Workers.PortRangeEnd),
			prioritize: b.Prioritize, probe: newProber().probe, usage: process.ReadUsage, ownsPort: ownsPort, portTaken: portTaken,
			spawn: func(spec process.Spec) (child, int, error) {
				if err := b.CheckFolder(); err != nil {
					return nil, 0, err
				}
				p, err := parent.Start(spec)
				if errors.Is(err, fs.ErrPermission) {
					err = fmt.Errorf("%w: let workers.temp_dir name a folder from which programs may be run, not on a file system that is mounted noexec", err)
				}
				if err != nil {
					return nil, 0, err
				}
				return p, p.PID, nil
			},
		},
		parent: parent, build: b, proxy: opts.Proxy, setPages: opts.SetPages, awaitReadable: opts.AwaitReadable, sampler: load.New(opts.Store), tempDir: cfg.Workers.TempDir, cfg: cfg, rootID: folderIDOf(cfg.Root),
		calls: make(chan func()), routed: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1),
		pages: make(map[string]*pageActor), conflicts: make(map[string][]string), removeAt: make(map[string]time.Time),
		removalTimer: stoppedTimer(),
	}
	s.dev.Store(opts.Development)
	if instead != nil {
		s.publishEvent(state.LevelWarn, "cannot use the default workers.temp_dir: keeping binaries in your cache folder", state.String("err", instead.Error()))
	}
	return s, nil
}

// KeepTerminal restores the present state of a terminal if this process dies before
// release is called.
func (s *Supervisor) KeepTerminal(f *os.File) (release func(), err error) {
	return s.parent.KeepTerminal(f)
}

// Routed is closed when the pages on disk have their routes.
func (s *Supervisor) Routed() <-chan struct{} { return s.routed }

// Run runs the pages until the context ends, and returns when no request is under way
// and every process is reaped. Call it once.
func (s *Supervisor) Run(ctx context.Context) {
	defer close(s.done)
	defer s.build.Close()
	defer s.parent.Close()
	defer s.startSampler(ctx)()
	defer s.actors.Wait()
	s.discover(ctx)
	if len(s.pages)+len(s.conflicts) == 0 {
		s.publishEvent(state.LevelWarn, "no pages yet: a Go program in index/ below the pages directory becomes /", state.String("dir", s.cfg.Pages.Directory))
	}
	close(s.routed)
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	s.sweep()
	for {
		select {
		case <-s.wake:
			s.dispatch(ctx)
		case f := <-s.calls:
			f()
		case <-s.removalTimer.C:
			s.discover(ctx)
		case <-sweep.C:
			s.sweep()
		case <-ctx.Done():
			return
		}
	}
}

// startSampler starts to measure the pages. Call stop when every actor has ended,
// because drains are measured too.
func (s *Supervisor) startSampler(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var sampling sync.WaitGroup
	sampling.Go(func() { s.sampler.Run(ctx) }) // ends with ctx
	return func() {
		cancel()
		sampling.Wait()
	}
}

// call calls f on the goroutine of Run, and returns when f has returned.
func (s *Supervisor) call(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case s.calls <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-s.done:
		return errors.New("the server is shutting down")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Supervisor) sweep() {
	removed, err := s.build.Sweep()
	switch {
	case err != nil:
		s.publishEvent(state.LevelWarn, "cannot remove old binaries", state.String("err", err.Error()))
	case removed > 0:
		s.publishEvent(state.LevelInfo, "old binaries removed", state.Int("count", removed))
	}
}

func (s *Supervisor) publishEvent(level state.Level, message string, attrs ...state.Attr) {
	s.store.Publish(state.Event{Level: level, Message: message, Attrs: attrs})
}
