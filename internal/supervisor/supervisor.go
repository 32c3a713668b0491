package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/build"
	"tqserver/internal/config"
	"tqserver/internal/load"
	"tqserver/internal/policy"
	"tqserver/internal/process"
	"tqserver/internal/project"
	"tqserver/internal/proxy"
	"tqserver/internal/router"
	"tqserver/internal/state"
)

// sweepEvery is how often old binaries are looked for.
const sweepEvery = time.Hour

// Options is what a Supervisor works with.
type Options struct {
	Config      *config.Config
	Store       *state.Store
	Proxy       *proxy.Proxy // is told of routes
	Development bool

	// OpenLog opens the file that a worker's output goes to.
	OpenLog func(name config.LogFile, page string) Log
	// Watch gets what is to be watched because a page is made of it, in place of
	// what was before.
	Watch func(page string, paths []string)
	// Await gets files that could not be read, whose mode may change.
	AwaitReadable func(files []string)
	// Pages gets the folders of all pages, by route.
	SetPages func(dirs map[string]string)
}

// Log is a file that lines go to.
type Log interface {
	io.WriteCloser
	Path() string // of the file that is written now
}

// Supervisor keeps all pages.
type Supervisor struct {
	*deps
	parent        *process.Parent
	build         *build.Builder
	proxy         *proxy.Proxy
	setPages      func(dirs map[string]string) // where the pages are
	awaitReadable func(files []string)
	sampler       *load.Sampler
	tempDir       string // in which the binaries are, whatever is configured since

	calls   chan func() // what is asked, carried out by Run
	routed  chan struct{}
	done    chan struct{}
	mu      sync.Mutex // guards changes
	pending changes
	wake    chan struct{} // holds one: there are changes

	// The rest belongs to Run.
	cfg           *config.Config
	rootID        folderID
	rootMissing   bool                  // the project's folder is, and that was said
	rootMissingAt time.Time             // when it counts as gone; zero while it is there
	pages         map[string]*pageActor // by route
	byFolder      map[string]*pageActor // the same
	folders       pageFolders
	conflicts     map[string][]string // folders by route
	unreadable    map[string]error    // folders that cannot be read, and why
	removeAt      map[string]time.Time
	removalTimer  *time.Timer
	actors        sync.WaitGroup
}

// changes are paths that have changed and were not acted on.
type changes struct {
	paths []string
	all   bool
	at    time.Time // of the first
}

// pageActor is a page with the end of its actor.
type pageActor struct {
	*page
	cancel context.CancelFunc
	folder string // where it is built, as far as was told
}

// deps is what all pages share.
type deps struct {
	root        string
	store       *state.Store
	builder     builder
	ports       *ports
	dev         atomic.Bool
	paused      atomic.Bool // nothing is built because files changed
	missedSaves atomic.Bool // some did meanwhile
	openLog     func(name config.LogFile, page string) Log

	prioritize func(dir string) // has a build go before others
	spawn      func(process.Spec) (c child, pid int, err error)
	probe      func(ctx context.Context, port int) error
	usage      func(pid int) (process.Usage, error)
	ownsPort   func(pid, port int) bool
	portTaken  func(port int) bool
}

// builder is what pages need of a [build.Builder].
type builder interface {
	Build(ctx context.Context, dir string, force bool) (build.Result, error)
	Optimize(ctx context.Context, dir string) (stale bool, err error)
	Keep(dir string, binaries ...string)
	RecordRollback(dir, bad, good string) error
	RemoveDamaged(binary string) bool
}

func (h *deps) development() bool { return h.dev.Load() }

// RunGuardian reports whether this process was started to guard the workers of
// another, and has done so. Call it first in main.
func RunGuardian() bool { return process.RunGuardian() }

// RunInit reports whether this is the first process of a container, and has run the
// program as its child; code is what to exit with. Call it before anything is
// started.
func RunInit() (code int, is bool) { return process.RunInit() }

// New returns a Supervisor. It starts the guardian of the workers; call Run,
// which ends it.
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

// KeepTerminal has a terminal put back into the state it is in now, should this
// process die before release is called.
func (s *Supervisor) KeepTerminal(f *os.File) (release func(), err error) {
	return s.parent.KeepTerminal(f)
}

// Routed is closed when the pages that are on disk have their routes.
func (s *Supervisor) Routed() <-chan struct{} { return s.routed }

// Changed tells of paths on disk that have changed, nil for any. It never
// waits.
func (s *Supervisor) Changed(paths []string) {
	s.mu.Lock()
	if s.pending.at.IsZero() {
		s.pending.at = time.Now()
	}
	s.pending.all = s.pending.all || paths == nil
	s.pending.paths = append(s.pending.paths, paths...)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run keeps the pages until the context ends, and returns when every request
// has been seen to and every process is gone. Call it once.
func (s *Supervisor) Run(ctx context.Context) error {
	defer close(s.done)
	defer s.build.Close()
	defer s.parent.Close()
	defer s.sample(ctx)()
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
			return ctx.Err()
		}
	}
}

// sample begins to measure. The function it returns ends that; drains are
// measured too, so call it when every actor has ended.
func (s *Supervisor) sample(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var sampling sync.WaitGroup
	sampling.Go(func() { s.sampler.Run(ctx) }) // ends with ctx
	return func() {
		cancel()
		sampling.Wait()
	}
}

// call has f called by Run, and waits for that.
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

// dispatch hands changes to the pages that they concern.
func (s *Supervisor) dispatch(ctx context.Context) {
	s.mu.Lock()
	saved := s.pending
	s.pending = changes{}
	s.mu.Unlock()
	if saved.at.IsZero() {
		return
	}
	if s.paused.Load() {
		s.missedSaves.Store(true)
		return
	}
	paths := saved.paths
	if saved.all {
		paths = nil
	}
	affected := s.build.Affected(slices.DeleteFunc(slices.Clone(paths), s.isUnreadablePage))
	for folder, file := range affected {
		if p := s.byFolder[folder]; p != nil {
			p.notifyChange(change{file: file, at: saved.at})
		}
	}
	if s.development() {
		s.dispatchAssets(saved, affected)
	}
	if saved.all || s.mayChangePages(paths) {
		s.discover(ctx)
	}
}

// discover compares the pages on disk with those that run.
func (s *Supervisor) discover(ctx context.Context) {
	if s.checkRoot() {
		return
	}
	found, err := router.Discover(s.cfg.Pages.Directory, s.build.Constraints())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.publishEvent(state.LevelError, "cannot read the pages directory: all pages stay as they are", state.String("err", err.Error()))
		return
	}
	wanted := make(map[string]string)
	for _, p := range found.Pages {
		wanted[p.Route] = p.Dir
	}
	s.folders = pageFoldersOf(found)
	s.setUnreadable(found.Unreadable)
	changed := s.setConflicts(found.Conflicts)
	now := time.Now()
	for route, p := range s.pages {
		dir, ok := wanted[route]
		_, contested := s.conflicts[route]
		switch {
		case ok && dir == p.folder, contested, s.inUnreadable(p.folder):
			delete(s.removeAt, route)
		case ok:
			delete(s.removeAt, route)
			s.build.Forget(p.folder)
			s.build.Track(dir)
			p.folder = dir
			cfg := s.settingsOf(route, dir)
			p.call(func() { p.move(dir, cfg) })
			changed = true
		case s.removeAt[route].IsZero():
			s.removeAt[route] = now.Add(s.cfg.FileWatcher.Debounce)
		case !now.Before(s.removeAt[route]):
			s.removePage(route)
			changed = true
		}
	}
	for route, dir := range wanted {
		if s.pages[route] == nil {
			s.build.Expect(dir)
		}
	}
	for route, dir := range wanted {
		if s.pages[route] == nil {
			s.addPage(ctx, route, dir)
			changed = true
		}
	}
	if changed {
		s.updateRoutes()
	}
	s.planRemoval(now)
}

// planRemoval looks again when a page that went may be taken to be gone.
func (s *Supervisor) planRemoval(now time.Time) {
	s.removalTimer.Stop()
	var next time.Time
	for _, at := range s.removeAt {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if !next.IsZero() {
		s.removalTimer.Reset(next.Sub(now))
	}
}

// setUnreadable notes which folders cannot be read, and says once of each why.
func (s *Supervisor) setUnreadable(unread map[string]error) {
	for _, dir := range slices.Sorted(maps.Keys(unread)) {
		if path, ok := errors.AsType[*fs.PathError](unread[dir]); ok {
			s.awaitReadable([]string{path.Path})
		}
		if s.unreadable[dir] == nil {
			s.publishEvent(state.LevelWarn, "cannot read a folder of pages: its pages keep running, and new ones do not start", state.String("dir", project.Show(s.root, dir)), state.String("err", unread[dir].Error()))
		}
	}
	s.unreadable = unread
}

// inUnreadable reports whether it cannot be read what a folder holds.
func (s *Supervisor) inUnreadable(folder string) bool {
	for dir := range s.unreadable {
		if project.Contains(dir, folder) {
			return true
		}
	}
	return false
}

// setConflicts notes which routes are asked for by several folders and reports
// whether that changes where requests go.
func (s *Supervisor) setConflicts(found []router.Conflict) (changed bool) {
	contested := make(map[string][]string)
	for _, c := range found {
		contested[c.Route] = c.Dirs
		if slices.Equal(c.Dirs, s.conflicts[c.Route]) {
			continue
		}
		problem := s.conflictText(c)
		if p := s.pages[c.Route]; p != nil {
			p.call(func() { p.conflict = problem; p.publish() })
		}
		page := state.Page{Route: c.Route, Phase: state.Failed, Problem: problem}
		e := state.Event{Level: state.LevelError, Message: "two folders for one route", Attrs: []state.Attr{state.String("page", c.Route), state.String("err", problem)}}
		if s.pages[c.Route] == nil {
			e.Page = &page
			changed = true
		}
		s.store.Publish(e)
	}
	for route := range s.conflicts {
		if contested[route] != nil {
			continue
		}
		changed = true
		if p := s.pages[route]; p != nil {
			p.call(func() { p.conflict = ""; p.publish() })
		} else {
			s.store.Publish(state.Event{Page: &state.Page{Route: route}, Removed: true})
		}
	}
	s.conflicts = contested
	return changed
}

func (s *Supervisor) conflictText(c router.Conflict) string {
	dirs := make([]string, len(c.Dirs))
	for i, dir := range c.Dirs {
		dirs[i] = project.Show(s.root, dir)
	}
	which := "none of them is served"
	if p := s.pages[c.Route]; p != nil {
		which = project.Show(s.root, p.folder) + " keeps serving"
	}
	return fmt.Sprintf("%s: several folders define the route %s; %s until all but one are removed or renamed", strings.Join(dirs, ", "), c.Route, which)
}

func (s *Supervisor) addPage(ctx context.Context, route, dir string) {
	ctx, cancel := context.WithCancel(ctx)
	p := &pageActor{page: newPage(s.deps, route, dir, s.settingsOf(route, dir)), cancel: cancel, folder: dir}
	s.pages[route] = p
	s.publishEvent(state.LevelInfo, "page found", state.String("page", route), state.String("dir", project.Show(s.root, dir)))
	s.actors.Go(func() { // ends with ctx
		defer cancel()
		p.run(ctx)
	})
}

func (s *Supervisor) removePage(route string) {
	p := s.pages[route]
	delete(s.pages, route)
	delete(s.removeAt, route)
	p.call(p.remove)
	p.cancel()
	s.build.Forget(p.folder)
}

// updateRoutes tells the proxy where requests go from now on, who serves files where
// the pages are, and the sampler what to measure.
func (s *Supervisor) updateRoutes() {
	routes := make(map[string]*proxy.Route, len(s.pages))
	dirs := make(map[string]string, len(s.pages))
	s.byFolder = make(map[string]*pageActor, len(s.pages))
	for route, p := range s.pages {
		routes[route], dirs[route], s.byFolder[p.folder] = p.entry, p.folder, p
	}
	for route := range s.conflicts {
		if routes[route] == nil {
			contested := &proxy.Route{Name: route}
			contested.Refuse(policy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is not available", Detail: "More than one folder defines this route."})
			routes[route] = contested
		}
	}
	s.setPages(dirs)
	s.proxy.Match(router.NewTable(routes).Match)
	s.sampler.SetRoutes(routes)
}

func (s *Supervisor) settingsOf(route, dir string) settings {
	w := s.cfg.Worker(route)
	return settings{worker: w, project: s.rootID, logFile: logOf(w.LogFile, dir, s.cfg.Pages.Directory), debounce: s.cfg.FileWatcher.Debounce}
}

// Configure puts another configuration in force, and another folder that is the
// project now. It returns at once; replaced
// is called when every page has taken it over, with the number of workers that
// were replaced for it.
func (s *Supervisor) Configure(ctx context.Context, cfg *config.Config, development bool, replaced func(workers int)) error {
	return s.call(ctx, func() {
		old := s.cfg
		s.cfg = cfg
		s.dev.Store(development)
		s.ports.setRange(cfg.Workers.PortRangeStart, cfg.Workers.PortRangeEnd)
		project := s.rootID
		if there := folderIDOf(cfg.Root); there != (folderID{}) {
			s.rootID = there
		}
		rebuild := s.rootID != project || cfg.Build.LDFlags != old.Build.LDFlags || !maps.Equal(cfg.Build.Env, old.Build.Env)
		s.build.Configure(cfg.Build.LDFlags, cfg.Build.Env)
		if dir := cfg.Workers.TempDir; dir != old.Workers.TempDir && dir != s.tempDir {
			s.publishEvent(state.LevelWarn, "workers.temp_dir changed: restart the server to apply it")
		}
		var left, count atomic.Int64
		left.Store(1)
		done := func(was bool) {
			if was {
				count.Add(1)
			}
			if left.Add(-1) == 0 {
				replaced(int(count.Load()))
			}
		}
		for route, p := range s.pages {
			left.Add(1)
			cfg := s.settingsOf(route, p.folder)
			if !p.call(func() { p.configure(cfg, rebuild, done) }) {
				done(false)
			}
		}
		done(false)
		switch {
		case cfg.Pages.Directory != old.Pages.Directory:
			s.Changed(nil)
		case rebuild: // with other tags other folders are pages
			s.removalTimer.Reset(0)
		}
	})
}

// Do carries out a command that is about pages.
func (s *Supervisor) Do(ctx context.Context, cmd state.Command) error {
	var failed error
	err := s.call(ctx, func() { failed = s.do(cmd) })
	return errors.Join(err, failed)
}

func (s *Supervisor) do(cmd state.Command) error {
	switch cmd.Verb {
	case state.Pause, state.Resume:
		paused := cmd.Verb == state.Pause
		s.paused.Store(paused)
		message := "watching paused: saved changes are built when it resumes"
		if !paused {
			message = "watching resumed"
		}
		s.store.ChangeServer(state.Event{Message: message}, func(srv *state.Server) { srv.Paused = paused })
		if !paused && s.missedSaves.Swap(false) {
			s.Changed(nil)
		}
		return nil
	}
	if cmd.Page == "" {
		for _, p := range s.pages {
			p.call(func() {
				if cmd.Verb != state.Restart || p.asleep == nil { // one that sleeps starts anew anyway
					p.command(cmd.Verb)
				}
			})
		}
		return nil
	}
	p := s.pages[cmd.Page]
	if p == nil {
		return fmt.Errorf("there is no page %s", cmd.Page)
	}
	var err error
	if !p.call(func() { err = p.command(cmd.Verb) }) {
		err = fmt.Errorf("%s is being removed", cmd.Page)
	}
	return err
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
