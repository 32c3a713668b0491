package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"tqserver/internal/process"
	"tqserver/internal/proxy"
	"tqserver/internal/secret"
	"tqserver/internal/state"
)

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

// reason is why a worker is started. It is also what the log says.
type reason string

const (
	newBuild      reason = "new build"
	configuration reason = "configuration"
	maxRequests   reason = "max_requests"
	lostHealth    reason = "unhealthy"
	manualRestart reason = "restart"
	crash         reason = "crash"
	maxMemory     reason = "max_memory"
	rollback      reason = "rollback"
	onDemand      reason = "on_demand"
)

// insists reports whether a start that failed beside a serving worker is
// tried again by itself. The program is known to start then; a version that
// does not is tried once.
func (r reason) insists() bool { return r == maxRequests || r == maxMemory || r == lostHealth }

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
