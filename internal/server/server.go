package server

import (
	"context"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/accesslog"
	"tqserver/internal/config"
	"tqserver/internal/live"
	"tqserver/internal/logfile"
	"tqserver/internal/policy"
	"tqserver/internal/proxy"
	"tqserver/internal/sinks"
	"tqserver/internal/state"
	"tqserver/internal/static"
	"tqserver/internal/supervisor"
	"tqserver/internal/watch"
)

// cutAfter is how long after the drain timeout a shutdown cuts requests that are still
// under way.
const cutAfter = 5 * time.Second

// consoleFlush is how long a shutdown waits for the console to write its last lines.
const consoleFlush = time.Second

// Options says how the server was started.
type Options struct {
	ConfigFile string    // as the user named it
	Version    string    // of the program
	Console    io.Writer // for plain lines; nil for none
	Dev        bool      // -dev was given
	Terminal   bool      // there is a screen, so development is the default
}

// Server is the engine with its listener.
type Server struct {
	opts       Options
	store      *state.Store
	proxy      *proxy.Proxy
	files      *static.Files
	live       *live.Live
	supervisor *supervisor.Supervisor
	watcher    *watch.Watcher
	http       *httpServer
	log        *sinks.EventLog
	access     *accesslog.Log
	policies   *policy.Table // in force; set by Run, and then by the reloader
	lock       *projectLock
	reloads    *reloader
	config     atomic.Pointer[config.Config] // in force
	cancel     context.CancelFunc            // set by Run
	running    chan struct{}                 // closed when stop is set
}

// RunGuardian reports whether this process was started to guard the workers of
// another, and has done its work. Call it first in main.
func RunGuardian() bool { return supervisor.RunGuardian() }

// RunInit reports whether this is the first process of a container. If so, it has run
// the program as its child, and main should exit with code. Call it before main
// starts anything.
func RunInit() (code int, is bool) { return supervisor.RunInit() }

// New returns a server that has locked the project and listens on its port. Call Run,
// which releases both.
func New(cfg *config.Config, opts Options) (*Server, error) {
	s := &Server{opts: opts, running: make(chan struct{})}
	lock, err := lockProject(cfg.Root)
	if err != nil {
		return nil, err
	}
	s.lock = lock
	dev := s.development(cfg)
	s.store = state.NewStore(state.Server{Version: opts.Version, PID: os.Getpid(), Root: cfg.Root, Started: time.Now(), Development: dev})
	s.proxy = proxy.New(proxySettings(cfg))
	s.files = static.New()
	s.proxy.SetFiles(s.files.Find)
	s.access = accesslog.New(accesslog.Options{
		Show: s.store.Append,
		Warn: s.warnLostLines(),
	})
	s.proxy.SetRecord(s.access.Record)
	s.http, err = listen(cfg.Server, s.proxy, s.store)
	if err != nil {
		lock.Close()
		return nil, err
	}
	s.watcher = watch.New(func(err error) {
		s.publishEvent(state.LevelWarn, "cannot watch some files: comparing them twice a second instead", state.String("err", err.Error()))
	})
	s.supervisor, err = supervisor.New(supervisor.Options{
		Config: cfg, Store: s.store, Proxy: s.proxy, Development: dev,
		OpenLog: s.openLog, Watch: func(page string, paths []string) { s.watcher.Set(page, nil, paths) }, AwaitReadable: s.watcher.AwaitReadable, SetPages: s.files.SetPages,
	})
	if err != nil {
		s.http.Close()
		lock.Close()
		return nil, err
	}
	s.live = live.New(live.Options{
		Source: s.Source(), Root: cfg.Root, Epoch: s.store.Epoch(),
		Warn: func(message string, attrs ...state.Attr) { s.publishEvent(state.LevelWarn, message, attrs...) },
	})
	s.log = sinks.NewEventLog(s.store, logfile.Template(cfg.Server.LogFile), cfg.Server.LogFormat, s.warnLostLines())
	s.config.Store(cfg)
	s.reloads = newReloader(s)
	return s, nil
}

// KeepTerminal restores the present state of a terminal if this process dies before
// release is called. Call it before Run has returned.
func (s *Server) KeepTerminal(f *os.File) (release func(), err error) {
	return s.supervisor.KeepTerminal(f)
}

// LibraryLog returns a writer that publishes each line as an event. It is meant for
// the standard logger, which libraries use: its lines must neither spoil the screen
// nor appear with -quiet.
func (s *Server) LibraryLog() io.Writer { return libraryLog{s.store} }

// Run serves until the context ends or a front end sends the command to shut down. It
// returns nil if everything ended in order.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.cancel = cancel
	close(s.running)
	defer s.lock.Close()
	defer s.files.Close()

	detached := context.WithoutCancel(ctx) // for what ends after requests have
	flushSinks := s.startSinks(detached)
	defer flushSinks()
	cfg := s.config.Load()
	s.publishEvent(state.LevelInfo, "tqserver starts", state.String("version", s.opts.Version), state.Int("pid", os.Getpid()), state.String("dir", cfg.Root))

	watching, endWatching := context.WithCancel(detached)
	var running sync.WaitGroup
	s.setWatched(cfg)
	s.mountStatic(cfg)
	s.setDevelopment(cfg)
	s.setPolicies(cfg)
	running.Go(func() { // ends with watching
		s.watcher.Run(watching, func(paths []string) {
			s.files.Refresh(paths)
			s.supervisor.Changed(paths)
			s.reloads.notifyChanged(paths)
		})
	})
	running.Go(func() { s.reloads.run(watching) })
	running.Go(func() { s.live.Run(watching) })
	running.Go(func() { s.http.releaseMemory(watching) })
	supervised := make(chan struct{})
	running.Go(func() { // ends with ctx
		defer close(supervised)
		s.supervisor.Run(ctx)
	})
	<-s.supervisor.Routed() // otherwise the first requests would find no page

	failed := make(chan error, 1)
	running.Go(func() { failed <- s.http.run(detached) }) // ends with s.http
	addr := s.http.url()
	s.store.ChangeServer(state.Event{Message: "listening", Attrs: []state.Attr{state.String("url", addr)}}, func(srv *state.Server) { srv.URLs = []string{addr} })

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		cancel()
	}
	stopBy := time.Now().Add(s.config.Load().LongestDrain() + cutAfter)
	s.store.ChangeServer(state.Event{Message: "shutting down: waiting for requests under way"}, func(srv *state.Server) { srv.Stopping, srv.StopBy = true, stopBy })
	shutdownCtx, cancelShutdown := context.WithDeadline(detached, stopBy)
	defer cancelShutdown()
	s.http.shutdown(shutdownCtx)
	<-supervised
	s.http.Close() // connections of streams that have ended
	endWatching()
	running.Wait()
	s.publishEvent(state.LevelInfo, "stopped", state.Duration("up", time.Since(s.store.Server().Started).Round(time.Second)))
	return err
}

// startSinks starts the sinks. flush stops them when they have written everything.
func (s *Server) startSinks(ctx context.Context) (flush func()) {
	ctx, cancel := context.WithCancel(ctx)
	var files sync.WaitGroup
	files.Go(func() { s.log.Run(ctx) }) // ends with ctx
	requests, endRequests := context.WithCancel(ctx)
	recorded := make(chan struct{})
	go func() { // ends with requests
		defer close(recorded)
		s.access.Run(requests)
	}()
	console := make(chan struct{})
	go func() { // ends with ctx, unless nobody reads
		defer close(console)
		if s.opts.Console != nil {
			sinks.Console(ctx, s.store, s.opts.Console)
		}
	}()
	return func() {
		endRequests()
		<-recorded // it may publish an event, which the other sinks write
		cancel()
		files.Wait()
		s.log.Close()
		select {
		case <-console:
		case <-time.After(consoleFlush):
		}
	}
}

// development reports whether the development aids are on.
func (s *Server) development(cfg *config.Config) bool {
	return s.opts.Dev || cfg.Dev.Mode == "on" || cfg.Dev.Mode == "auto" && s.opts.Terminal
}

// setDevelopment switches the development aids for browsers on or off.
func (s *Server) setDevelopment(cfg *config.Config) {
	if !s.development(cfg) {
		s.proxy.SetDevelopment(nil)
		return
	}
	s.proxy.SetDevelopment(&proxy.Development{
		HoldNavigations: cfg.Dev.HoldNavigations,
		Reserved:        s.live, ReservedPath: live.Reserved,
		Explain: func(ctx context.Context, r proxy.Refused) (string, bool) { return s.live.Explain(ctx, live.Refused(r)) },
	})
}

// setPolicies puts the configuration's policies for requests in force.
func (s *Server) setPolicies(cfg *config.Config) {
	var dress policy.Dress
	if s.development(cfg) {
		dress = s.live.Dress
	}
	s.policies = policy.Compile(cfg, s.policies, dress)
	s.proxy.SetPolicies(s.policies)
	s.access.Configure(s.policies.AccessLogs())
}

// setWatched watches the pages, and in development other files that they may show.
func (s *Server) setWatched(cfg *config.Config) {
	s.watcher.Set("pages", []string{cfg.Pages.Directory}, nil)
	if s.development(cfg) {
		s.watcher.Set("development", cfg.CommonFiles(), nil)
	} else {
		s.watcher.Set("development", nil, nil)
	}
}

// openLog opens the log file for the output of a page's workers.
func (s *Server) openLog(name config.LogFile, page string) supervisor.Log {
	return logfile.Open(logfile.Template(name), s.warnLostLines(state.String("page", page)))
}

// mountStatic serves the folders that the configuration names.
func (s *Server) mountStatic(cfg *config.Config) {
	mounts, dirs := make([]static.Mount, len(cfg.Static)), make([]string, len(cfg.Static))
	for i, c := range cfg.Static {
		mounts[i], dirs[i] = static.Mount{Path: c.Path, Dir: c.Dir, CacheControl: c.CacheControl}, c.Dir
	}
	s.watcher.Set("static", nil, dirs) // before os.Stat, so that no change is missed
	for _, c := range cfg.Static {
		if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
			s.publishEvent(state.LevelWarn, "static folder not found: its files will be served when it exists", state.String("dir", c.Dir))
		}
	}
	s.files.SetMounts(mounts)
}

// warnLostLines returns a function that publishes how many lines of a log file were
// lost, and why.
func (s *Server) warnLostLines(attrs ...state.Attr) func(lost uint64, err error) {
	return func(lost uint64, err error) {
		s.publishEvent(state.LevelWarn, "log lines were lost", slices.Concat(attrs, []state.Attr{state.Int("lines", lost), state.String("err", err.Error())})...)
	}
}

func (s *Server) publishEvent(level state.Level, message string, attrs ...state.Attr) {
	s.store.Publish(state.Event{Level: level, Message: message, Attrs: attrs})
}

func proxySettings(cfg *config.Config) proxy.Settings {
	return proxy.Settings{
		ReadTimeout: cfg.Server.ReadTimeout, WriteTimeout: cfg.Server.WriteTimeout,
		HoldTimeout: cfg.Proxy.HoldTimeout, MaxHeld: cfg.Proxy.MaxHeld,
		TrustedProxies: cfg.Server.TrustedProxies,
		MinBodyRate:    cfg.Server.MinBodyRate,
	}
}
