package supervisor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/process"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// child is a process, as far as an actor knows one.
type child interface {
	Ready() <-chan struct{}
	ListensOnSocket() bool
	Done() <-chan struct{}
	Exit() process.Exit
	Stop(ctx context.Context, grace time.Duration)
}

// version is a binary and the number of the build it came of.
type version struct {
	binary string
	build  int
}

// worker is one process of a page.
type worker struct {
	child
	version
	pid, port int
	socket    string // it was told to listen on; empty where there are none
	onSocket  bool   // it does
	settings  config.WorkerSettings
	project   folderID // in which it runs
	began     time.Time
	ready     time.Time
	swap      time.Duration // from began to the first request it could get
	env       []string      // as it may be told
	backend   *proxy.Backend
	requests  uint64 // that had been answered when it began to serve
	unhealthy int
	hurry     context.CancelFunc // ends it at once; nil while it serves
}

func (w *worker) state(role state.Role) state.Worker {
	return state.Worker{
		Role: role, PID: w.pid, Port: w.port, Build: w.build, Since: w.began, FailedChecks: w.unhealthy, Binary: w.binary, Env: w.env,
	}
}

// startAttempt is a worker on its way to serving.
type startAttempt struct {
	worker
	reason    reason
	change    change // that is behind a new build
	buildTook time.Duration
	before    version // that served until this one was on its way
	cancel    context.CancelFunc
	told      bool // that there is no port

	hidden  time.Duration // from ready until it may serve,
	noticed chan struct{} // or until this is closed; nil for at once
}

var (
	errPortTaken = errors.New("another program took its port")
	errAbandoned = errors.New("not wanted any more")
)

// tooManyPorts is how many ports in a row may turn out to be taken before that
// counts as a crash, so that a page which takes no port at all ends up in a pause.
const tooManyPorts = 20

// replace starts a worker of a version.
func (p *page) replace(why reason, v version) {
	p.start(&startAttempt{worker: worker{version: v}, reason: why})
}

// start brings a worker up, in place of one that is on its way.
func (p *page) start(a *startAttempt) {
	if c := p.coming(); c != nil && a.before.binary == "" {
		a.before = c.before
		if c.reason == putBack {
			a.before = c.version
		}
	}
	p.dropStart()
	p.redo, p.asleep = "", nil
	p.retry.Stop()
	p.next = time.Time{}
	if p.serving == nil {
		p.entry.Hold()
	}
	port := p.reserved
	p.reserved = 0
	if port == 0 {
		port, p.freed = p.ports.acquire()
	}
	if port == 0 {
		p.waitForPort(a)
		return
	}
	ctx, cancel := context.WithCancel(p.life) // ended by dropStart, at the latest in close
	a.cancel = cancel
	a.port, a.socket, a.settings, a.began = port, newSocket(), p.cfg.worker, time.Now()
	a.project = identify(p.root)
	cfg, spec := p.cfg, p.spec(a)
	a.env = tellable(spec.Env)
	p.noteStart(a)
	hidden, noticed := a.hidden, a.noticed
	p.starting = a
	p.publish()
	p.aside(func() func() {
		defer cancel()
		w, err := p.bring(ctx, a.worker, cfg, spec)
		if err == nil && noticed != nil {
			w.pause(ctx, hidden, noticed)
		}
		return func() { p.started(a, w, err) }
	})
}

// outdated reports whether a worker was started with other settings than those
// in force, or in a folder that is not the project any more.
func (p *page) outdated(w *worker) bool {
	return w.settings != p.cfg.worker || p.cfg.project != (folderID{}) && w.project != p.cfg.project
}

// coming is the start that is under way or waits for a port, nil if none is.
func (p *page) coming() *startAttempt {
	if p.starting != nil {
		return p.starting
	}
	return p.portless
}

// dropStart gives up the start that is under way.
func (p *page) dropStart() {
	if p.starting != nil {
		p.starting.cancel()
		p.starting = nil
		p.leaving++
	}
	p.portless, p.freed = nil, nil
	p.recheck.Stop()
}

// waitForPort waits until there is a port again. A page that serves and has
// no port coming back gives its own: slower, but never an error. One that the
// range does not hold any more would be lost for nothing.
func (p *page) waitForPort(a *startAttempt) {
	p.portless = a
	if w := p.serving; w != nil && p.ports.contains(w.port) && len(p.draining) == 0 && p.leaving == 0 {
		p.serving = nil
		p.entry.Hold()
		p.freed = nil
		a.before = w.version
		p.tell(slog.LevelWarn, "no spare port: the old worker stops before the new one starts")
		p.retire(w, proxy.ServiceRestart, true)
		return
	}
	p.recheck.Reset(portRecheck) // another program may give one back
	if !a.told {
		a.told = true
		p.tell(slog.LevelWarn, "waiting for a port", slog.String("err", "every port from workers.port_range_start to port_range_end is in use: widen the range"))
	}
}

// seekPort asks again for a port.
func (p *page) seekPort() {
	a := p.portless
	if a == nil {
		p.freed = nil
		return
	}
	p.start(a)
}

// spec says how the worker is run.
func (p *page) spec(a *startAttempt) process.Spec {
	w := p.cfg.worker
	procs := w.GoMaxProcs
	if procs == 0 {
		procs = runtime.NumCPU()
	}
	own := map[string]string{
		"TQ_PORT":                     strconv.Itoa(a.port),
		"TQ_SOCKET":                   a.socket,
		"TQ_MAX_REQUESTS":             strconv.Itoa(w.MaxRequests),
		"TQ_READ_TIMEOUT_SECONDS":     seconds(w.ReadTimeout),
		"TQ_WRITE_TIMEOUT_SECONDS":    seconds(w.WriteTimeout),
		"TQ_IDLE_TIMEOUT_SECONDS":     seconds(w.IdleTimeout),
		"TQ_SHUTDOWN_GRACE_PERIOD_MS": strconv.FormatInt(w.ShutdownGracePeriod.Milliseconds(), 10),
		"TQ_LOG_FILE":                 p.out.path(),
		"TQ_ROUTE":                    p.route,
		"TQ_BUILD":                    strconv.Itoa(a.build),
		"PWD":                         p.root, // as the project is called, links and all
		"GOMAXPROCS":                  strconv.Itoa(procs),
		"GOMEMLIMIT":                  w.GoMemLimit,
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		_, ours := own[key]
		return ours || strings.HasPrefix(key, "TQ_")
	})
	for key, value := range own {
		env = append(env, key+"="+value)
	}
	return process.Spec{Path: a.binary, Dir: p.root, Env: env}
}

// newSocket returns a name that nobody else can know. It is one of Linux, which
// knows names that are no files and end with who listens (unix(7), "abstract").
func newSocket() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	return "@tqserver/" + rand.Text()
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// bring starts a worker and returns it when it may have traffic. With an error,
// which says why not, it is reaped if it ever ran.
func (p *page) bring(ctx context.Context, w worker, cfg settings, spec process.Spec) (*worker, error) {
	spec.Output, spec.Partial = p.out.write, p.out.show
	c, pid, err := p.spawn(spec)
	if err != nil {
		return nil, p.judge(w.binary, err)
	}
	w.child, w.pid = c, pid
	if err := p.await(ctx, &w, cfg.workers.StartTimeout); err != nil {
		grace := time.Duration(0)
		if errors.Is(err, errAbandoned) {
			grace = cfg.worker.ShutdownGracePeriod
		}
		c.Stop(p.life, grace)
		if how := c.Exit(); how.PortTaken {
			err = errPortTaken
		}
		return &w, p.judge(w.binary, err)
	}
	w.ready = time.Now()
	if wait := cfg.workers.StartupDelay - time.Since(w.began); wait > 0 {
		select {
		case <-time.After(wait):
		case <-c.Done():
			return &w, fmt.Errorf("it exited during startup_delay_ms: %s", c.Exit().Status)
		case <-ctx.Done():
			c.Stop(p.life, cfg.worker.ShutdownGracePeriod)
			return &w, errAbandoned
		}
	}
	return &w, nil
}

// await returns when a worker has said that it is ready, or has answered on a
// port that is its own.
func (p *page) await(ctx context.Context, w *worker, timeout time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.NewTimer(timeout)
	defer late.Stop()
	pause, next := 2*time.Millisecond, idleTimer()
	defer next.Stop()
	answered, asking := make(chan error, 1), false
	ask := func() {
		asking = true
		go func() { answered <- p.probe(ctx, w.port) }() // ends with ctx
	}
	ask()
	defer func() {
		if cancel(); asking {
			<-answered
		}
	}()
	var last error
	for {
		select {
		case <-w.Ready():
			w.onSocket = w.ListensOnSocket()
			return nil
		case <-next.C:
			ask()
		case last = <-answered:
			asking = false
			if last == nil && p.owns(w.pid, w.port) {
				return nil
			}
			if last == nil {
				return errPortTaken
			}
			next.Reset(pause)
			pause = min(2*pause, 250*time.Millisecond)
		case <-w.Done():
			if w.Exit().PortTaken || p.taken(w.port) {
				return errPortTaken
			}
			return fmt.Errorf("it exited before it was ready: %s", w.Exit().Status)
		case <-late.C:
			return fmt.Errorf("it was not ready within workers.start_timeout_seconds (%v): it must listen on TQ_PORT and return 200 for /health (last: %v)", timeout, last)
		case <-ctx.Done():
			return errAbandoned
		}
	}
}

// started is the end of a start.
func (p *page) started(a *startAttempt, w *worker, err error) {
	current := p.starting == a
	switch {
	case err != nil:
		p.ports.release(a.port)
		if current {
			p.starting = nil
			p.startFailed(a, w, err)
		} else {
			p.leaving--
		}
	case !current:
		p.retireUnused(w)
	default:
		p.starting = nil
		p.swap(a, w)
	}
	if current {
		p.settle(err == nil)
	}
}

// startFailed decides what becomes of a page whose newest worker did not come
// up.
func (p *page) startFailed(a *startAttempt, w *worker, err error) {
	switch {
	case errors.Is(err, errPortTaken) && p.evicted < tooManyPorts:
		p.evicted++
		p.start(a)
		return
	case p.building == nil && (errors.Is(err, errDamaged) || w == nil && errors.Is(err, fs.ErrNotExist) && gone(a.binary)):
		p.lacksBinary(a, err)
		return
	case scarce(err):
		p.postpone(a, err)
		return
	}
	cause := err.Error()
	p.words, p.ended = words{version: a.version}, state.Exit{}
	if w != nil {
		printed := p.out.printed(w.pid)
		cause, p.words.text = p.cause(cause, printed), lastWords(printed)
		p.ended.PID = w.pid
	}
	p.ended.Cause = cause
	attrs := []slog.Attr{slog.Int("build", a.build), slog.String("reason", string(a.reason)), slog.String("err", cause)}
	if p.words.text != "" {
		attrs = append(attrs, slog.String("output", p.words.text))
	}
	switch {
	case p.serving != nil:
		p.failed = fmt.Sprintf("build %d does not start: %s", a.build, cause)
		p.tell(slog.LevelError, "the new worker did not start: the old one keeps serving", attrs...)
		if a.reason.insists() {
			p.crashes++
			p.retryIn(max(firstPause, pauseBefore(p.crashes)), a.reason, a.version)
		}
	case a.before.binary != "" && a.before != a.version:
		p.failed = fmt.Sprintf("build %d does not start: %s", a.build, cause)
		p.tell(slog.LevelError, "the new worker did not start: starting the old build again", attrs...)
		p.replace(putBack, a.before)
	default:
		p.goDown("the worker did not start", "does not start: "+cause, attrs, a.version)
	}
}

// crashed is the end of the worker that served.
func (p *page) crashed() {
	w := p.serving
	p.serving = nil
	p.calm.Stop()
	p.health.Stop()
	p.scales.Stop()
	p.entry.Hold()
	w.backend.Close()
	p.ports.release(w.port)
	p.restarts++
	printed := p.out.printed(w.pid)
	p.words = words{version: w.version, text: lastWords(printed)}
	p.ended = state.Exit{PID: w.pid, Cause: p.cause(w.Exit().Status, printed)}
	p.inspect(w.version)
	attrs := []slog.Attr{slog.Int("build", w.build), slog.Int("pid", w.pid), slog.Int("port", w.port), slog.String("err", p.ended.Cause)}
	if c := p.coming(); c != nil {
		c.before = w.version
		p.tell(slog.LevelError, "the worker exited", attrs...)
		return
	}
	p.goDown("the worker exited", "keeps crashing: "+p.ended.Cause, attrs, w.version)
}

// goDown plans the next start of a page that nothing serves.
func (p *page) goDown(what, why string, attrs []slog.Attr, v version) {
	p.down = why
	if p.failsProbation(v) {
		p.rollBack(v, attrs)
		return
	}
	p.crashes++
	pause := pauseBefore(p.crashes)
	if pause == 0 {
		p.tell(slog.LevelError, what, attrs...)
		p.replace(crash, v)
		return
	}
	p.retryIn(pause, crash, v)
	p.entry.Refuse(keepsEnding(p.next))
	p.tell(slog.LevelError, what, append(attrs, slog.Duration("retry", pause))...)
}

func keepsEnding(next time.Time) proxy.Refusal {
	return proxy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is not available", Detail: "It keeps crashing. It will be started again soon.", RetryAt: next}
}

// retryIn plans a start.
func (p *page) retryIn(pause time.Duration, why reason, v version) {
	p.planIn(pause, func() { p.replace(why, v) })
}

// planIn plans what is to be tried again.
func (p *page) planIn(pause time.Duration, retrying func()) {
	p.next = time.Now().Add(pause)
	p.retry.Reset(pause)
	p.retrying = retrying
}

// tryAgain is the end of a pause.
func (p *page) tryAgain() {
	p.next = time.Time{}
	if !p.stopped && !p.closing && p.building == nil && p.starting == nil && p.portless == nil {
		p.retrying()
	}
}

// swap sends traffic to a worker that is ready, and retires the one before.
func (p *page) swap(a *startAttempt, w *worker) {
	opts := proxy.BackendOptions{MaxRequests: w.settings.MaxRequests, IdleTimeout: w.settings.IdleTimeout, Build: w.build, PID: w.pid}
	if w.onSocket {
		opts.Socket = w.socket
	}
	w.backend = proxy.NewBackend(loopback(w.port), opts)
	old := p.serving
	p.entry.Serve(w.backend)
	swapped := time.Now()
	w.swap = swapped.Sub(w.began)
	p.noteSwap(a)
	p.serving = w
	w.requests = p.entry.Traffic().Requests
	p.missing, p.scarce, p.evicted = 0, 0, 0
	p.serves(w.version, a.reason)
	if w.version == p.good && len(p.shown.Problems) == 0 {
		p.failed, p.words = "", words{}
	}
	if w.version == p.words.version {
		p.words = words{}
	}
	p.builder.Keep(p.dir, w.binary, p.previous.binary)
	p.takeTouched() // so that one change is told of once
	p.calm.Reset(calmAfter)
	p.health.Reset(p.cfg.workers.HealthInterval)
	p.lookIdle()
	p.weigh()

	attrs := []slog.Attr{
		slog.Int("build", w.build), slog.Int("pid", w.pid), slog.Int("port", w.port),
	}
	if a.reason != newBuild {
		attrs = append(attrs, slog.String("reason", string(a.reason)))
	} else {
		if a.change.file != "" {
			attrs = append(attrs, slog.String("file", p.show(a.change.file)), slog.Duration("detect", a.change.latency()))
		}
		attrs = append(attrs, slog.Duration("build_took", a.buildTook))
	}
	attrs = append(attrs, slog.Duration("start", w.ready.Sub(w.began)), slog.Duration("swap", swapped.Sub(w.ready)))
	if a.reason == newBuild {
		attrs = append(attrs, slog.Duration("took", swapped.Sub(a.change.at)))
	}
	if old != nil {
		p.retire(old, proxy.ServiceRestart, false)
		p.tell(slog.LevelInfo, "swapped", attrs...)
	} else {
		p.tell(slog.LevelInfo, "serving", attrs...)
	}
}

// latency is the time from the file's change to our notice of it, if the file
// still tells.
func (c change) latency() time.Duration {
	info, err := os.Stat(c.file)
	if err != nil {
		return 0
	}
	if d := c.at.Sub(info.ModTime()); d > 0 && d < 10*time.Second {
		return d
	}
	return 0
}

// logOf is the log file of the page in a folder.
func logOf(name config.LogFile, dir, pages string) config.LogFile {
	rel, err := filepath.Rel(pages, dir)
	if err != nil || !filepath.IsLocal(rel) {
		rel = filepath.Base(dir)
	}
	if name.Name != "" {
		name.Page = rel
	}
	return name
}
