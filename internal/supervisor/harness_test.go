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

// harness runs a page with fake builds and workers. The test sets what these do, and
// time is that of a synctest bubble.
type harness struct {
	t      *testing.T
	page   *actor
	cancel context.CancelFunc
	ended  chan struct{}

	mu              sync.Mutex // guards all below
	buildsStarted   int
	running         int // builds that run at the moment
	prioritized     int // how often a build was put before others
	buildTakes      time.Duration
	content         string // of the sources: binaries are named after it, "broken" does not compile
	workers         []*fakeWorker
	failedStarts    int               // starts without a process
	failFrom        int               // the start from which workers exit at once; 0 for none
	ready           time.Duration     // from start to ready; negative for never
	dies            time.Duration     // from start to the end; negative for never
	prints          string            // printed before a worker dies
	ignoresTERM     bool              // workers do
	unhealthy       bool              // health checks fail
	deleted         bool              // binaries are, until the next build
	damaged         bool              // binaries are, until they are checked
	cancelDelay     time.Duration     // how long a cancelled build goes on
	stale           bool              // the next build missed a save
	staleWhenLearnt bool              // Learn finds that the next build missed a save
	learnDelay      time.Duration     // how long Learn takes
	takenPorts      map[int]bool      // ports that another program takes when a worker starts
	putBack         map[string]string // by the binary that was rolled back
	onDemand        bool              // from the beginning
	instances       int               // at the start; 0 is 1
	ports           int               // in the range; 0 is 4
	memory          int64             // of each worker
	memoryGrows     bool              // workers use none at first

	noFreePort     bool          // other programs use all ports
	binariesVanish bool          // binaries are missing, even new ones
	probeErr       error         // of failed health checks
	startErr       error         // of every start
	doubt          error         // Result.Doubt of every build
	everStale      bool          // every build missed a save
	alwaysNew      bool          // every build makes another binary
	writes         []string      // files that every worker saves; %d is its number
	writesAt       time.Duration // after its start
	written        int
}

// fakeWorker stands for a worker's process.
type fakeWorker struct {
	harness     *harness
	pid         int
	spec        process.Spec
	ready       chan struct{}
	done        chan struct{}
	once        sync.Once
	exit        process.Exit
	ignoresTERM bool
	stops       int
	cancel      context.CancelFunc

	measured bool
}

func (a *fakeWorker) Ready() <-chan struct{} { return a.ready }
func (a *fakeWorker) Done() <-chan struct{}  { return a.done }
func (a *fakeWorker) ListensOnSocket() bool  { return false }
func (a *fakeWorker) Exit() process.Exit     { return a.exit }

func (a *fakeWorker) Stop(ctx context.Context, grace time.Duration) {
	a.harness.mu.Lock()
	a.stops++
	deaf := a.ignoresTERM
	a.harness.mu.Unlock()
	if deaf && grace > 0 {
		select {
		case <-a.done:
		case <-time.After(grace):
		case <-ctx.Done():
		}
	}
	a.end("signal: terminated")
}

func (a *fakeWorker) end(how string) {
	a.once.Do(func() {
		a.exit.Status = how
		a.cancel()
		close(a.done)
	})
}

type discardLog struct{}

func (discardLog) Write(p []byte) (int, error) { return len(p), nil }
func (discardLog) Close() error                { return nil }
func (discardLog) Path() string                { return "/logs/worker.log" }

var _ io.WriteCloser = discardLog{}

// withPage runs a test of a page in a bubble. When the page has ended, it checks that
// nothing is left.
func withPage(t *testing.T, prepare func(*harness), test func(*harness)) {
	t.Helper()
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := &harness{t: t, buildTakes: 200 * time.Millisecond, content: "v1", ready: 5 * time.Millisecond, dies: -1, ended: make(chan struct{}), takenPorts: make(map[int]bool), putBack: make(map[string]string)}
		if prepare != nil {
			prepare(s)
		}
		cfg := config.Default(root)
		worker := cfg.Worker("/")
		if s.onDemand {
			worker.Start = "on_demand"
		}
		worker.Instances = max(1, s.instances)
		if s.ports == 0 {
			s.ports = 4
		}
		h := &deps{
			root: root, store: state.NewStore(state.Server{}), builder: s,
			ports:      newPorts(cfg.Workers.PortRangeStart, cfg.Workers.PortRangeStart+s.ports-1),
			prioritize: func(string) { s.set(func() { s.prioritized++ }) },
			openLog:    func(config.LogFile, string) Log { return discardLog{} },
			spawn:      s.spawn, probe: s.probe, usage: s.usage,
			ownsPort:  func(int, int) bool { return true },
			portTaken: func(port int) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.takenPorts[port] },
		}
		h.ports.taken = func(int) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.noFreePort }
		s.page = newActor(h, "/", root, settings{worker: worker, debounce: cfg.FileWatcher.Debounce})
		ctx, cancel := context.WithCancel(t.Context())
		s.cancel = cancel
		go func() { defer close(s.ended); s.page.run(ctx) }() // ends with ctx
		defer func() {
			cancel()
			<-s.ended
			s.checkClean()
		}()
		test(s)
	})
}

// checkClean reports workers and ports that are left.
func (s *harness) checkClean() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.workers {
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

func (s *harness) Build(ctx context.Context, _ string, force bool) (build.Result, error) {
	s.mu.Lock()
	s.buildsStarted++
	s.running++
	if s.running > 1 {
		s.t.Error("two builds of one page run")
	}
	took, content, lingers := s.buildTakes, s.content, s.cancelDelay
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.running--; s.mu.Unlock() }()
	select {
	case <-time.After(took):
	case <-ctx.Done():
		time.Sleep(lingers)
		return build.Result{}, ctx.Err()
	}
	s.set(func() { s.deleted = s.binariesVanish })
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
		if s.alwaysNew {
			content = fmt.Sprint(content, "-", s.buildsStarted)
		}
		res.Stale, s.stale = s.stale || s.everStale, false
		res.InputsErr = s.doubt
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

func (s *harness) Optimize(context.Context, string) (stale bool, err error) {
	var learns time.Duration
	s.set(func() { learns = s.learnDelay })
	time.Sleep(learns)
	s.set(func() { stale, s.staleWhenLearnt = s.staleWhenLearnt, false })
	return stale, nil
}

func (s *harness) Keep(string, ...string) {}

func (s *harness) RecordRollback(_, bad, good string) error {
	s.set(func() { s.putBack[bad] = good })
	return nil
}

func (s *harness) RemoveDamaged(string) (damaged bool) {
	s.set(func() {
		damaged, s.damaged = s.damaged, false
		s.deleted = s.deleted || damaged
	})
	return damaged
}

func (s *harness) spawn(spec process.Spec) (child, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.startErr != nil:
		s.failedStarts++
		return nil, 0, s.startErr
	case s.deleted:
		s.failedStarts++
		return nil, 0, fs.ErrNotExist
	case s.damaged:
		s.failedStarts++
		return nil, 0, syscall.ENOEXEC
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	a := &fakeWorker{harness: s, pid: 100 + len(s.workers), spec: spec, ready: make(chan struct{}), done: make(chan struct{}), ignoresTERM: s.ignoresTERM, cancel: cancel}
	s.workers = append(s.workers, a)
	if len(s.writes) > 0 {
		go s.write(ctx, s.writes, s.writesAt, len(s.workers)) // ends with the worker
	}
	ready, dies, last := s.ready, s.dies, s.prints
	if s.takenPorts[a.port()] {
		a.exit.PortTaken = true
		dies = 0
	}
	if s.failFrom > 0 && len(s.workers) > s.failFrom {
		ready, dies = -1, 0
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
func (s *harness) write(ctx context.Context, files []string, at time.Duration, n int) {
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
		s.page.notifyChange(change{file: file, at: time.Now()})
	}
}

func (a *fakeWorker) port() (port int) {
	for _, kv := range a.spec.Env {
		fmt.Sscanf(kv, "TQ_PORT=%d", &port)
	}
	return port
}

func (s *harness) probe(_ context.Context, port int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.workers) {
		if c.port() != port {
			continue
		}
		select {
		case <-c.ready:
			if !s.unhealthy {
				return nil
			}
		default:
		}
		break
	}
	if s.probeErr != nil {
		return s.probeErr
	}
	return errors.New("no answer")
}

func (s *harness) usage(pid int) (process.Usage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memoryGrows && !s.workers[pid-100].measured {
		s.workers[pid-100].measured = true
		return process.Usage{}, nil
	}
	return process.Usage{Memory: s.memory}, nil
}

// set changes what builds and workers do from now on.
func (s *harness) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// save saves other content.
func (s *harness) save(content string) {
	s.set(func() { s.content = content })
	s.page.notifyChange(change{file: "/project/pages/index/main.go", at: time.Now()})
}

// after returns when d has passed and every goroutine waits.
func (s *harness) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *harness) state() state.Page {
	synctest.Wait()
	p, _ := s.page.store.Page("/")
	return p
}

func (s *harness) wantPhase(want state.Phase) {
	s.t.Helper()
	if got := s.state(); got.Phase != want {
		s.t.Fatalf("the page is %s, not %s (%s)", got.Phase, want, got.Trouble.Text)
	}
}

// wantServing checks that a worker of this content serves, and returns it.
func (s *harness) wantServing(content string) *fakeWorker {
	s.t.Helper()
	for _, w := range s.state().Workers {
		if w.Role == state.RoleServing {
			a := s.allWorkers()[w.PID-100]
			if a.spec.Path != "/bin/"+content {
				s.t.Fatalf("%s serves, not %s", a.spec.Path, content)
			}
			return a
		}
	}
	s.t.Fatalf("nothing serves, the page is %s", s.state().Phase)
	return nil
}

func (s *harness) command(verb state.Verb) error {
	spec, err := state.Command{Verb: verb}.Spec()
	if err != nil {
		return err
	}
	if !s.page.call(func() { err = s.page.command(spec, 0) }) {
		s.t.Error("the actor has ended")
	}
	return err
}

// allWorkers returns the workers so far.
func (s *harness) allWorkers() []*fakeWorker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.workers)
}

// request makes a request whose client disconnects at once.
func (s *harness) request() {
	front := proxy.New(proxy.Settings{})
	front.SetRoutes(map[string]*proxy.Route{"/": s.page.entry})
	ctx, leave := context.WithCancel(s.t.Context())
	leave()
	defer func() { recover() }() // the proxy tells net/http that the client left
	front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
}

// waitingRequest makes a request whose client waits until leave is called.
func (s *harness) waitingRequest() (leave func()) {
	front := proxy.New(proxy.Settings{HoldTimeout: time.Hour, MaxHeld: 1})
	front.SetRoutes(map[string]*proxy.Route{"/": s.page.entry})
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

func (s *harness) startCount() int { return len(s.allWorkers()) }

func (s *harness) prioritizedCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prioritized
}

func (s *harness) buildCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buildsStarted
}

func (s *harness) crashes() (n int) {
	s.page.call(func() { n = s.page.page.crashes() })
	return n
}

func (s *harness) settings() (cfg settings) {
	s.page.call(func() { cfg = s.page.page.cfg })
	return cfg
}

func (a *fakeWorker) stopCount() int {
	a.harness.mu.Lock()
	defer a.harness.mu.Unlock()
	return a.stops
}

// messages returns the messages of all events so far.
func (s *harness) messages() []string {
	u, _ := s.page.store.Next(s.t.Context(), state.Cursor{Seq: state.Beginning})
	var said []string
	for _, e := range u.Events {
		if e.Message != "" {
			said = append(said, e.Message)
		}
	}
	return said
}

func (s *harness) countMessages(message string) (n int) {
	for _, m := range s.messages() {
		if m == message {
			n++
		}
	}
	return n
}

func (s *harness) wantMessage(message string) {
	s.t.Helper()
	if !slices.Contains(s.messages(), message) {
		s.t.Errorf("it was not said that %q, but %q", message, s.messages())
	}
}
