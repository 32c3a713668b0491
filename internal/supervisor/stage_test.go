package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tqserver/internal/build"
	"tqserver/internal/config"
	"tqserver/internal/process"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

func TestMain(m *testing.M) {
	if RunGuardian() {
		return
	}
	goleak.VerifyTestMain(m)
}

// stage is a page whose builds and workers are played: what they do is set by
// the test, and time is the bubble's.
type stage struct {
	t    *testing.T
	page *page
	stop context.CancelFunc
	over chan struct{}

	mu       sync.Mutex // guards all below
	builds   int        // begun
	running  int        // builds that run now
	hurries  int        // how often a build was told that people wait for it
	took     time.Duration
	content  string // what is on disk: binaries are named after it, "broken" does not compile
	children []*actor
	refused  int               // starts that were no process
	ready    time.Duration     // from start to ready; negative for never
	dies     time.Duration     // from start to the end; negative for never
	last     string            // printed before that
	deaf     bool              // to SIGTERM
	sick     bool              // health checks fail
	deleted  bool              // binaries, until the next build
	damaged  bool              // they are, until somebody looks
	lingers  time.Duration     // of a build after it was cancelled
	stale    bool              // the next build missed a save
	mistaken bool              // the next build turns out to have missed a save, when there is time to learn
	learns   time.Duration     // until that is known, whatever happens meanwhile
	foreign  map[int]bool      // ports that turn out to be taken when a worker starts
	putBack  map[string]string // binaries, and what took their place
	onDemand bool              // from the beginning
	memory   int64             // that workers take
	swells   bool              // that is none for a moment

	full      bool          // no port is free
	vanishes  bool          // binaries, whatever is built
	noProbe   error         // of every health check that fails
	unbound   error         // of every start
	unknown   error         // of every attempt to learn
	everStale bool          // every build has missed a save
	fresh     bool          // every build makes another program
	writes    []string      // what every worker saves as it starts; %d is its number
	writesAt  time.Duration // after its start
	written   int
}

// actor plays a worker's process.
type actor struct {
	stage  *stage
	pid    int
	spec   process.Spec
	ready  chan struct{}
	done   chan struct{}
	once   sync.Once
	exit   process.Exit
	deaf   bool
	stops  int
	cancel context.CancelFunc

	weighed bool
}

func (a *actor) Ready() <-chan struct{} { return a.ready }
func (a *actor) Done() <-chan struct{}  { return a.done }
func (a *actor) ListensOnSocket() bool  { return false }
func (a *actor) Exit() process.Exit     { return a.exit }

func (a *actor) Stop(ctx context.Context, grace time.Duration) {
	a.stage.mu.Lock()
	a.stops++
	deaf := a.deaf
	a.stage.mu.Unlock()
	if deaf && grace > 0 {
		select {
		case <-a.done:
		case <-time.After(grace):
		case <-ctx.Done():
		}
	}
	a.end("signal: terminated")
}

func (a *actor) end(how string) {
	a.once.Do(func() {
		a.exit.Status = how
		a.cancel()
		close(a.done)
	})
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }
func (nowhere) Path() string                { return "/logs/worker.log" }

var _ io.WriteCloser = nowhere{}

// perform runs a test on a stage, in a bubble, and sees to it that nothing is
// left when the page has ended.
func perform(t *testing.T, prepare func(*stage), test func(*stage)) {
	t.Helper()
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, took: 200 * time.Millisecond, content: "v1", ready: 5 * time.Millisecond, dies: -1, over: make(chan struct{}), foreign: make(map[int]bool), putBack: make(map[string]string)}
		if prepare != nil {
			prepare(s)
		}
		cfg := config.Default(root)
		if s.onDemand {
			cfg.Workers.Start = "on_demand"
		}
		h := &house{
			root: root, store: state.NewStore(state.Server{}), builder: s,
			ports:   newPorts(cfg.Workers.PortRangeStart, cfg.Workers.PortRangeStart+3),
			hurry:   func(string) { s.set(func() { s.hurries++ }) },
			openLog: func(config.LogFile, string) Log { return nowhere{} },
			spawn:   s.spawn, probe: s.probe, usage: s.usage,
			owns:  func(int, int) bool { return true },
			taken: func(port int) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.foreign[port] },
		}
		h.ports.taken = func(int) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.full }
		s.page = newPage(h, "/", root, settings{worker: cfg.Worker("/"), workers: cfg.Workers, debounce: cfg.FileWatcher.Debounce})
		ctx, cancel := context.WithCancel(t.Context())
		s.stop = cancel
		go func() { defer close(s.over); s.page.run(ctx) }() // ends with ctx
		defer func() {
			cancel()
			<-s.over
			s.clean()
		}()
		test(s)
	})
}

// clean checks that nothing is left.
func (s *stage) clean() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.children {
		select {
		case <-c.done:
		default:
			s.t.Errorf("worker %d is left", c.pid)
		}
	}
	if n := len(s.page.ports.used); n > 0 {
		s.t.Errorf("%d ports are left", n)
	}
}

func (s *stage) Build(ctx context.Context, _ string, force bool) (build.Result, error) {
	s.mu.Lock()
	s.builds++
	s.running++
	if s.running > 1 {
		s.t.Error("two builds of one page run")
	}
	took, content, lingers := s.took, s.content, s.lingers
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.running--; s.mu.Unlock() }()
	select {
	case <-time.After(took):
	case <-ctx.Done():
		time.Sleep(lingers)
		return build.Result{}, ctx.Err()
	}
	s.set(func() { s.deleted = s.vanishes })
	switch content {
	case "no go":
		return build.Result{}, build.ErrNoGo
	case "broken":
		return build.Result{Problems: []state.Problem{{File: "pages/index/main.go", Line: 3, Message: "broken"}}}, nil
	case "disk full":
		return build.Result{}, errors.New("no space left on device")
	}
	res := build.Result{Took: took}
	s.set(func() {
		if s.fresh {
			content = fmt.Sprint(content, "-", s.builds)
		}
		res.Stale, s.stale = s.stale || s.everStale, false
		res.InputsErr = s.unknown
	})
	res.Binary = "/bin/" + content
	s.set(func() {
		if force {
			delete(s.putBack, res.Binary)
		}
		res.RolledBackTo = s.putBack[res.Binary]
	})
	return res, nil
}

func (s *stage) Optimize(context.Context, string) (stale bool, err error) {
	var learns time.Duration
	s.set(func() { learns = s.learns })
	time.Sleep(learns)
	s.set(func() { stale, s.mistaken = s.mistaken, false })
	return stale, nil
}

func (s *stage) Keep(string, ...string) {}

func (s *stage) RecordRollback(_, bad, good string) error {
	s.set(func() { s.putBack[bad] = good })
	return nil
}

func (s *stage) RemoveDamaged(string) (damaged bool) {
	s.set(func() {
		damaged, s.damaged = s.damaged, false
		s.deleted = s.deleted || damaged
	})
	return damaged
}

func (s *stage) spawn(spec process.Spec) (child, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.unbound != nil:
		s.refused++
		return nil, 0, s.unbound
	case s.deleted:
		s.refused++
		return nil, 0, fs.ErrNotExist
	case s.damaged:
		s.refused++
		return nil, 0, syscall.ENOEXEC
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	a := &actor{stage: s, pid: 100 + len(s.children), spec: spec, ready: make(chan struct{}), done: make(chan struct{}), deaf: s.deaf, cancel: cancel}
	s.children = append(s.children, a)
	if len(s.writes) > 0 {
		go s.write(ctx, s.writes, s.writesAt, len(s.children)) // ends with the worker
	}
	ready, dies, last := s.ready, s.dies, s.last
	if s.foreign[a.port()] {
		a.exit.PortTaken = true
		dies = 0
	}
	go func() { // ends with the worker
		if ready >= 0 && (dies < 0 || ready < dies) {
			select {
			case <-time.After(ready):
				close(a.ready)
			case <-ctx.Done():
				return
			}
		}
		if dies >= 0 {
			select {
			case <-time.After(dies):
				if last != "" {
					spec.Output(a.pid, true, []byte(last))
				}
				a.end("exit status 2")
			case <-ctx.Done():
			}
		}
	}()
	return a, a.pid, nil
}

// write saves files as a worker does.
func (s *stage) write(ctx context.Context, files []string, at time.Duration, n int) {
	for _, file := range files {
		if at > 0 {
			select {
			case <-time.After(at):
			case <-ctx.Done():
				return
			}
		}
		if strings.Contains(file, "%d") {
			file = fmt.Sprintf(file, n)
		}
		s.set(func() { s.content, s.written = fmt.Sprint("w", s.written+1), s.written+1 })
		s.page.change(change{file: file, at: time.Now()})
	}
}

func (a *actor) port() (port int) {
	for _, kv := range a.spec.Env {
		fmt.Sscanf(kv, "TQ_PORT=%d", &port)
	}
	return port
}

func (s *stage) probe(_ context.Context, port int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.children) {
		if c.port() != port {
			continue
		}
		select {
		case <-c.ready:
			if !s.sick {
				return nil
			}
		default:
		}
		break
	}
	if s.noProbe != nil {
		return s.noProbe
	}
	return errors.New("no answer")
}

func (s *stage) usage(pid int) (process.Usage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.swells && !s.children[pid-100].weighed {
		s.children[pid-100].weighed = true
		return process.Usage{}, nil
	}
	return process.Usage{Memory: s.memory}, nil
}

// set changes how the stage plays from now on.
func (s *stage) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// save is a save of other content.
func (s *stage) save(content string) {
	s.set(func() { s.content = content })
	s.page.change(change{file: "/project/pages/index/main.go", at: time.Now()})
}

// after lets time pass and everything settle.
func (s *stage) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *stage) state() state.Page {
	synctest.Wait()
	p, _ := s.page.store.Page("/")
	return p
}

func (s *stage) phase(want state.Phase) {
	s.t.Helper()
	if got := s.state(); got.Phase != want {
		s.t.Fatalf("the page is %s, not %s (%s)", got.Phase, want, got.Problem)
	}
}

// serves checks that the worker that serves is of some content.
func (s *stage) serves(content string) *actor {
	s.t.Helper()
	for _, w := range s.state().Workers {
		if w.Role == state.RoleServing {
			a := s.all()[w.PID-100]
			if a.spec.Path != "/bin/"+content {
				s.t.Fatalf("%s serves, not %s", a.spec.Path, content)
			}
			return a
		}
	}
	s.t.Fatalf("nothing serves, the page is %s", s.state().Phase)
	return nil
}

func (s *stage) command(verb state.Verb) error {
	var err error
	if !s.page.ask(func() { err = s.page.command(verb) }) {
		s.t.Error("the actor has ended")
	}
	return err
}

// all are the workers so far.
func (s *stage) all() []*actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.children)
}

// request has the page asked for something by a client who leaves at once.
func (s *stage) request() {
	front := proxy.New(proxy.Settings{})
	front.Match(func(string) (*proxy.Route, bool) { return s.page.entry, true })
	ctx, leave := context.WithCancel(s.t.Context())
	leave()
	defer func() { recover() }() // the proxy tells net/http that the client left
	front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
}

// wait has the page asked for something by a client who waits until leave is
// called.
func (s *stage) wait() (leave func()) {
	front := proxy.New(proxy.Settings{HoldTimeout: time.Hour, MaxHeld: 1})
	front.Match(func(string) (*proxy.Route, bool) { return s.page.entry, true })
	ctx, cancel := context.WithCancel(s.t.Context())
	left := make(chan struct{})
	go func() { // ends with ctx
		defer close(left)
		defer func() { recover() }() // the proxy tells net/http that the client left
		front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	}()
	synctest.Wait()
	return func() { cancel(); <-left }
}

func (s *stage) starts() int { return len(s.all()) }

func (s *stage) hurried() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hurries
}

func (s *stage) built() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.builds
}

func (s *stage) crashes() (n int) {
	s.page.ask(func() { n = s.page.crashes })
	return n
}

func (s *stage) settings() (cfg settings) {
	s.page.ask(func() { cfg = s.page.cfg })
	return cfg
}

func (a *actor) stopped() int {
	a.stage.mu.Lock()
	defer a.stage.mu.Unlock()
	return a.stops
}

// said returns the messages of the log so far.
func (s *stage) said() []string {
	u, _ := s.page.store.Next(s.t.Context(), state.Beginning)
	var said []string
	for _, e := range u.Events {
		if e.Message != "" {
			said = append(said, e.Message)
		}
	}
	return said
}

func (s *stage) count(message string) (n int) {
	for _, m := range s.said() {
		if m == message {
			n++
		}
	}
	return n
}

func (s *stage) wantSaid(message string) {
	s.t.Helper()
	if !slices.Contains(s.said(), message) {
		s.t.Errorf("it was not said that %q, but %q", message, s.said())
	}
}
