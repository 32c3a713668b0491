package supervisor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/policy"
	"tqserver/internal/process"
	"tqserver/internal/project"
	"tqserver/internal/proxy"
	"tqserver/internal/secret"
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
	pid, port      int
	socket         string // it was told to listen on; empty where there are none
	onSocket       bool   // it does
	settings       config.WorkerSettings
	project        folderID // in which it runs
	startedAt      time.Time
	readyAt        time.Time
	swapTook       time.Duration // from began to the first request it could get
	env            []string      // as it may be told
	backend        *proxy.Backend
	requestsBefore uint64 // that had been answered when it began to serve
	failedChecks   int
	kill           context.CancelFunc // ends it at once; nil while it serves
}

func (w *worker) state(role state.Role) state.Worker {
	return state.Worker{
		Role: role, PID: w.pid, Port: w.port, Build: w.build, Since: w.startedAt, FailedChecks: w.failedChecks, Binary: w.binary, Env: w.env,
	}
}

// startAttempt is a worker on its way to serving.
type startAttempt struct {
	worker
	reason        reason
	change        change // that is behind a new build
	buildTook     time.Duration
	replaces      version // that served until this one was on its way
	cancel        context.CancelFunc
	waitPublished bool // that there is no port

	hideFor      time.Duration // from ready until it may serve,
	ownWriteSeen chan struct{} // or until this is closed; nil for at once
}

var (
	errPortTaken = errors.New("another program took its port")
	errAbandoned = errors.New("not wanted any more")
)

// maxTakenPorts is how many ports in a row may turn out to be taken before that
// counts as a crash, so that a page which takes no port at all ends up in a pause.
const maxTakenPorts = 20

// replace starts a worker of a version.
func (p *page) replace(why reason, v version) {
	p.start(&startAttempt{worker: worker{version: v}, reason: why})
}

// start brings a worker up, in place of one that is on its way.
func (p *page) start(a *startAttempt) {
	if c := p.pendingStart(); c != nil && a.replaces.binary == "" {
		a.replaces = c.replaces
		if c.reason == rollback {
			a.replaces = c.version
		}
	}
	p.cancelStart()
	p.retryReason, p.asleep = "", nil
	p.retryTimer.Stop()
	p.nextStart = time.Time{}
	if p.serving == nil {
		p.entry.Hold()
	}
	port := p.reservedPort
	p.reservedPort = 0
	if port == 0 {
		port, p.portFreed = p.ports.acquire()
	}
	if port == 0 {
		p.waitForPort(a)
		return
	}
	ctx, cancel := context.WithCancel(p.backgroundCtx) // ended by dropStart, at the latest in close
	a.cancel = cancel
	a.port, a.socket, a.settings, a.startedAt = port, newSocketName(), p.cfg.worker, time.Now()
	a.project = folderIDOf(p.root)
	cfg, spec := p.cfg, p.processSpec(a)
	a.env = secret.Environ(spec.Env)
	p.recordStart(a)
	hidden, noticed := a.hideFor, a.ownWriteSeen
	p.starting = a
	p.publish()
	p.background(func() func() {
		defer cancel()
		w, err := p.launch(ctx, a.worker, cfg, spec)
		if err == nil && noticed != nil {
			w.waitWhileAlive(ctx, hidden, noticed)
		}
		return func() { p.startEnded(a, w, err) }
	})
}

// isOutdated reports whether a worker was started with other settings than those
// in force, or in a folder that is not the project any more.
func (p *page) isOutdated(w *worker) bool {
	return w.settings.ProcessSettings != p.cfg.worker.ProcessSettings || p.cfg.project != (folderID{}) && w.project != p.cfg.project
}

// requestLimit returns after how many requests the worker is replaced, 0 for
// never, if that many are configured. That is never more than it was told at its
// start: a worker that has had so many says that it is ending (ShouldShutdown of
// pkg/worker), and must not go on for long.
func (w *worker) requestLimit(configured int) int {
	told := w.settings.MaxRequests
	if configured == 0 || told > 0 && told < configured {
		return told
	}
	return configured
}

// pendingStart is the start that is under way or waits for a port, nil if none is.
func (p *page) pendingStart() *startAttempt {
	if p.starting != nil {
		return p.starting
	}
	return p.waitingForPort
}

// cancelStart gives up the start that is under way.
func (p *page) cancelStart() {
	if p.starting != nil {
		p.starting.cancel()
		p.starting = nil
		p.abandonedStarts++
	}
	p.waitingForPort, p.portFreed = nil, nil
	p.portTimer.Stop()
}

// waitForPort waits until there is a port again. A page that serves and has
// no port coming back gives its own: slower, but never an error. One that the
// range does not hold any more would be lost for nothing.
func (p *page) waitForPort(a *startAttempt) {
	p.waitingForPort = a
	if w := p.serving; w != nil && p.ports.contains(w.port) && len(p.draining) == 0 && p.abandonedStarts == 0 {
		p.serving = nil
		p.entry.Hold()
		p.portFreed = nil
		a.replaces = w.version
		p.publishEvent(state.LevelWarn, "no spare port: the old worker stops before the new one starts")
		p.retire(w, proxy.ServiceRestart, true)
		return
	}
	p.portTimer.Reset(portRecheck) // another program may give one back
	if !a.waitPublished {
		a.waitPublished = true
		p.publishEvent(state.LevelWarn, "waiting for a port", state.String("err", "every port from workers.port_range_start to port_range_end is in use: widen the range"))
	}
}

// retryPort asks again for a port.
func (p *page) retryPort() {
	a := p.waitingForPort
	if a == nil {
		p.portFreed = nil
		return
	}
	p.start(a)
}

// processSpec says how the worker is run.
func (p *page) processSpec(a *startAttempt) process.Spec {
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

// newSocketName returns a name that nobody else can know. It is one of Linux, which
// knows names that are no files and end with who listens (unix(7), "abstract").
func newSocketName() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	return "@tqserver/" + rand.Text()
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// launch starts a worker and returns it when it may have traffic. With an error,
// which says why not, it is reaped if it ever ran.
func (p *page) launch(ctx context.Context, w worker, cfg settings, spec process.Spec) (*worker, error) {
	spec.Output, spec.Partial = p.out.write, p.out.writePartial
	c, pid, err := p.spawn(spec)
	if err != nil {
		return nil, p.checkStartErr(w.binary, err)
	}
	w.child, w.pid = c, pid
	if err := p.waitReady(ctx, &w, cfg.worker.StartTimeout); err != nil {
		grace := time.Duration(0)
		if errors.Is(err, errAbandoned) {
			grace = cfg.worker.ShutdownGracePeriod
		}
		c.Stop(p.backgroundCtx, grace)
		if how := c.Exit(); how.PortTaken {
			err = errPortTaken
		}
		return &w, p.checkStartErr(w.binary, err)
	}
	w.readyAt = time.Now()
	if wait := cfg.worker.StartupDelay - time.Since(w.startedAt); wait > 0 {
		select {
		case <-time.After(wait):
		case <-c.Done():
			return &w, fmt.Errorf("it exited during startup_delay_ms: %s", c.Exit().Status)
		case <-ctx.Done():
			c.Stop(p.backgroundCtx, cfg.worker.ShutdownGracePeriod)
			return &w, errAbandoned
		}
	}
	return &w, nil
}

// waitReady returns when a worker has said that it is ready, or has answered on a
// port that is its own.
func (p *page) waitReady(ctx context.Context, w *worker, timeout time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.NewTimer(timeout)
	defer late.Stop()
	pause, next := 2*time.Millisecond, stoppedTimer()
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
			if last == nil && p.ownsPort(w.pid, w.port) {
				return nil
			}
			if last == nil {
				return errPortTaken
			}
			next.Reset(pause)
			pause = min(2*pause, 250*time.Millisecond)
		case <-w.Done():
			if w.Exit().PortTaken || p.portTaken(w.port) {
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

// startEnded is the end of a start.
func (p *page) startEnded(a *startAttempt, w *worker, err error) {
	current := p.starting == a
	switch {
	case err != nil:
		p.ports.release(a.port)
		if current {
			p.starting = nil
			p.startFailed(a, w, err)
		} else {
			p.abandonedStarts--
		}
	case !current:
		p.stopUnused(w)
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
	case errors.Is(err, errPortTaken) && p.takenPorts < maxTakenPorts:
		p.takenPorts++
		p.start(a)
		return
	case p.building == nil && (errors.Is(err, errDamaged) || w == nil && errors.Is(err, fs.ErrNotExist) && isMissing(a.binary)):
		p.rebuildMissing(a, err)
		return
	case isShortage(err):
		p.retryStart(a, err)
		return
	}
	cause := err.Error()
	p.lastOutput, p.lastExit = lastOutput{version: a.version}, state.Exit{}
	if w != nil {
		printed := p.out.linesOf(w.pid)
		cause, p.lastOutput.text = p.exitCause(cause, printed), lastLines(printed)
		p.lastExit.PID = w.pid
	}
	p.lastExit.Cause = cause
	attrs := []state.Attr{state.Int("build", a.build), state.String("reason", string(a.reason)), state.String("err", cause)}
	if p.lastOutput.text != "" {
		attrs = append(attrs, state.String("output", p.lastOutput.text))
	}
	switch {
	case p.serving != nil:
		p.failure = fmt.Sprintf("build %d does not start: %s", a.build, cause)
		p.publishEvent(state.LevelError, "the new worker did not start: the old one keeps serving", attrs...)
		if a.reason.insists() {
			p.crashes++
			p.startAfter(max(firstPause, pauseBefore(p.crashes)), a.reason, a.version)
		}
	case a.replaces.binary != "" && a.replaces != a.version:
		p.failure = fmt.Sprintf("build %d does not start: %s", a.build, cause)
		p.publishEvent(state.LevelError, "the new worker did not start: starting the old build again", attrs...)
		p.replace(rollback, a.replaces)
	default:
		p.planRestart("the worker did not start", "does not start: "+cause, attrs, a.version)
	}
}

// workerExited is the end of the worker that served.
func (p *page) workerExited() {
	w := p.serving
	p.serving = nil
	p.healthyTimer.Stop()
	p.healthTimer.Stop()
	p.memoryTimer.Stop()
	p.entry.Hold()
	w.backend.Close()
	p.ports.release(w.port)
	p.restarts++
	printed := p.out.linesOf(w.pid)
	p.lastOutput = lastOutput{version: w.version, text: lastLines(printed)}
	p.lastExit = state.Exit{PID: w.pid, Cause: p.exitCause(w.Exit().Status, printed)}
	p.checkBinary(w.version)
	attrs := []state.Attr{state.Int("build", w.build), state.Int("pid", w.pid), state.Int("port", w.port), state.String("err", p.lastExit.Cause)}
	if c := p.pendingStart(); c != nil {
		c.replaces = w.version
		p.publishEvent(state.LevelError, "the worker exited", attrs...)
		return
	}
	p.planRestart("the worker exited", "keeps crashing: "+p.lastExit.Cause, attrs, w.version)
}

// planRestart plans the next start of a page that nothing serves.
func (p *page) planRestart(what, why string, attrs []state.Attr, v version) {
	p.crashCause = why
	if p.failsProbation(v) {
		p.rollBack(v, attrs)
		return
	}
	p.crashes++
	pause := pauseBefore(p.crashes)
	if pause == 0 {
		p.publishEvent(state.LevelError, what, attrs...)
		p.replace(crash, v)
		return
	}
	p.startAfter(pause, crash, v)
	p.entry.Refuse(keepsCrashing(p.nextStart))
	p.publishEvent(state.LevelError, what, append(attrs, state.Duration("retry", pause))...)
}

func keepsCrashing(next time.Time) policy.Refusal {
	return policy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is not available", Detail: "It keeps crashing. It will be started again soon.", RetryAt: next}
}

// startAfter plans a start.
func (p *page) startAfter(pause time.Duration, why reason, v version) {
	p.retryAfter(pause, func() { p.replace(why, v) })
}

// retryAfter plans what is to be tried again.
func (p *page) retryAfter(pause time.Duration, retrying func()) {
	p.nextStart = time.Now().Add(pause)
	p.retryTimer.Reset(pause)
	p.retryFunc = retrying
}

// retry is the end of a pause.
func (p *page) retry() {
	p.nextStart = time.Time{}
	if !p.stopped && !p.closing && p.building == nil && p.starting == nil && p.waitingForPort == nil {
		p.retryFunc()
	}
}

// swap sends traffic to a worker that is ready, and retires the one before.
func (p *page) swap(a *startAttempt, w *worker) {
	opts := proxy.BackendOptions{MaxRequests: w.requestLimit(p.cfg.worker.MaxRequests), IdleTimeout: w.settings.IdleTimeout, Build: w.build, PID: w.pid}
	if w.onSocket {
		opts.Socket = w.socket
	}
	w.backend = proxy.NewBackend(loopback(w.port), opts)
	old := p.serving
	p.entry.Serve(w.backend)
	swapped := time.Now()
	w.swapTook = swapped.Sub(w.startedAt)
	p.recordSwap(a)
	p.serving = w
	w.requestsBefore = p.entry.Traffic().Requests
	p.missingBinaries, p.shortages, p.takenPorts = 0, 0, 0
	p.recordServing(w.version, a.reason)
	if w.version == p.newestGood && len(p.lastBuild.Problems) == 0 {
		p.failure, p.lastOutput = "", lastOutput{}
	}
	if w.version == p.lastOutput.version {
		p.lastOutput = lastOutput{}
	}
	p.builder.Keep(p.dir, w.binary, p.previous.binary)
	p.applyAssets() // so that one change is told of once
	p.healthyTimer.Reset(resetAfter)
	p.healthTimer.Reset(p.cfg.worker.HealthInterval)
	p.checkIdle()
	p.checkMemory()

	attrs := []state.Attr{
		state.Int("build", w.build), state.Int("pid", w.pid), state.Int("port", w.port),
	}
	if a.reason != newBuild {
		attrs = append(attrs, state.String("reason", string(a.reason)))
	} else {
		if a.change.file != "" {
			attrs = append(attrs, state.String("file", p.show(a.change.file)), state.Duration("detect", a.change.latency()))
		}
		attrs = append(attrs, state.Duration("build_took", a.buildTook))
	}
	attrs = append(attrs, state.Duration("start", w.readyAt.Sub(w.startedAt)), state.Duration("swap", swapped.Sub(w.readyAt)))
	if a.reason == newBuild {
		attrs = append(attrs, state.Duration("took", swapped.Sub(a.change.at)))
	}
	if old != nil {
		p.retire(old, proxy.ServiceRestart, false)
		p.publishEvent(state.LevelInfo, "swapped", attrs...)
	} else {
		p.publishEvent(state.LevelInfo, "serving", attrs...)
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
	rel, ok := project.Rel(pages, dir)
	if !ok {
		rel = filepath.Base(dir)
	}
	if name.Name != "" {
		name.Page = rel
	}
	return name
}
