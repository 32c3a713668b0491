package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"tqserver/internal/process"
	"tqserver/internal/proxy"
	"tqserver/internal/secret"
)

// child is a process, as far as an actor knows one.
type child interface {
	Ready() <-chan struct{}
	ListensOnSocket() bool
	Done() <-chan struct{}
	Exit() process.Exit
	Stop(ctx context.Context, grace time.Duration)
}

// workerProcess is the process of a worker. Its fields do not change any more when
// it is ready.
type workerProcess struct {
	child     // nil until it runs
	cfg       settings
	dir       string // of the page
	spec      process.Spec
	shownEnv  []string
	pid       int
	port      int
	socket    string   // TQ_SOCKET; empty where there are no such sockets
	onSocket  bool     // it does
	project   folderID // in which it runs
	startedAt time.Time
	ready     time.Time
	backend   *proxy.Backend

	cancel   context.CancelFunc // of its start
	revealed chan struct{}      // closed when it may serve at once
}

var (
	errPortTaken = errors.New("another program took its port")
	errAbandoned = errors.New("not wanted any more")
	errDamaged   = errors.New("the binary is damaged")
)

// prepare returns a worker's process, which does not run yet.
func (a *actor) prepare(w worker, cfg settings) *workerProcess {
	socket := newSocketName()
	env := a.environ(w, socket)
	return &workerProcess{
		cfg: cfg, dir: a.page.dir, port: w.port, socket: socket, startedAt: time.Now(), revealed: make(chan struct{}),
		spec:     process.Spec{Path: w.binary, Dir: a.root, Env: env, Output: a.out.write, Partial: a.out.writePartial},
		shownEnv: secret.Environ(env),
	}
}

// newBackend returns the worker as the proxy sees it. How many requests it gets is
// not limited yet.
func (p *workerProcess) newBackend(w worker) *proxy.Backend {
	opts := proxy.BackendOptions{Seat: w.seat, IdleTimeout: p.cfg.worker.IdleTimeout, Build: w.build, PID: p.pid}
	if p.onSocket {
		opts.Socket = p.socket
	}
	return proxy.NewBackend(loopback(p.port), opts)
}

// run starts a process and returns when it may have requests. With an error, which
// says why not, it is reaped if it ever ran.
func (p *workerProcess) run(ctx context.Context, d *deps) error {
	p.project = folderIDOf(d.root)
	c, pid, err := d.spawn(p.spec)
	if err != nil {
		return judge(d, p.spec.Path, err)
	}
	p.child, p.pid = c, pid
	if err := p.await(ctx, d); err != nil {
		grace := time.Duration(0)
		if errors.Is(err, errAbandoned) {
			grace = p.cfg.worker.ShutdownGracePeriod
		}
		c.Stop(context.WithoutCancel(ctx), grace)
		if how := c.Exit(); how.PortTaken {
			err = errPortTaken
		}
		return judge(d, p.spec.Path, err)
	}
	p.ready = time.Now()
	if wait := p.cfg.worker.StartupDelay - time.Since(p.startedAt); wait > 0 {
		select {
		case <-time.After(wait):
		case <-c.Done():
			return fmt.Errorf("it exited during startup_delay_ms: %s", c.Exit().Status)
		case <-ctx.Done():
			c.Stop(context.WithoutCancel(ctx), p.cfg.worker.ShutdownGracePeriod)
			return errAbandoned
		}
	}
	return nil
}

// await returns when a worker has said that it is ready, or has answered on a
// port that is its own.
func (p *workerProcess) await(ctx context.Context, d *deps) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timeout := p.cfg.worker.StartTimeout
	late := time.NewTimer(timeout)
	defer late.Stop()
	pause, next := 2*time.Millisecond, stoppedTimer()
	defer next.Stop()
	answered, probing := make(chan error, 1), false
	probe := func() {
		probing = true
		go func() { answered <- d.probe(ctx, p.port) }() // ends with ctx
	}
	probe()
	defer func() {
		if cancel(); probing {
			<-answered
		}
	}()
	var last error
	for {
		select {
		case <-p.Ready():
			p.onSocket = p.ListensOnSocket()
			return nil
		case <-next.C:
			probe()
		case last = <-answered:
			probing = false
			if last == nil && d.ownsPort(p.pid, p.port) {
				return nil
			}
			if last == nil {
				return errPortTaken
			}
			next.Reset(pause)
			pause = min(2*pause, 250*time.Millisecond)
		case <-p.Done():
			if p.Exit().PortTaken || d.portTaken(p.port) {
				return errPortTaken
			}
			return fmt.Errorf("it exited before it was ready: %s", p.Exit().Status)
		case <-late.C:
			return fmt.Errorf("it was not ready within workers.start_timeout_seconds (%v): it must listen on TQ_PORT and return 200 for /health (last: %v)", timeout, last)
		case <-ctx.Done():
			return errAbandoned
		}
	}
}

// judge says that a start failed because the binary is damaged, if it is.
func judge(d *deps, binary string, err error) error {
	for _, other := range []error{errAbandoned, errPortTaken, fs.ErrNotExist} {
		if errors.Is(err, other) {
			return err
		}
	}
	if isShortage(err) || !d.builder.RemoveDamaged(binary) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// scarcities are what the system says that has no means for a process now.
var scarcities = []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM}

// scarce reports whether an error is the system's want of means, which passes and
// says nothing of a program.
func isShortage(err error) bool {
	return slices.ContainsFunc(scarcities, func(want error) bool { return errors.Is(err, want) })
}

// whyNot says why a worker did not start.
func (a *actor) whyNot(w worker, p *workerProcess, err error) startFailed {
	failed := startFailed{worker: w.id, pid: p.pid, cause: err.Error()}
	switch {
	case errors.Is(err, errPortTaken):
		failed.why = portWasTaken
	case errors.Is(err, errDamaged):
		failed.why = binaryDamaged
	case p.child == nil && errors.Is(err, fs.ErrNotExist) && isMissing(w.binary):
		failed.why = binaryGone
	case isShortage(err):
		failed.why = noMeans
	}
	if p.child != nil {
		printed := a.out.linesOf(p.pid)
		failed.cause, failed.output = exitCause(failed.cause, printed, a.root, p.dir), lastLines(printed)
	}
	return failed
}

// watch tells of the end of a process, and before that once of its last request.
func (a *actor) watch(w id, p *workerProcess) {
	a.background(func() func() event {
		select {
		case <-p.backend.Spent():
			return func() event {
				a.watchEnd(w, p)
				return spent{w}
			}
		case <-p.Done():
			return a.ended(w, p)
		}
	})
}

func (a *actor) watchEnd(w id, p *workerProcess) {
	a.background(func() func() event {
		<-p.Done()
		return a.ended(w, p)
	})
}

// ended returns how a process ended, as an event.
func (a *actor) ended(w id, p *workerProcess) func() event {
	printed := a.out.linesOf(p.pid)
	e := exited{w, p.pid, exitCause(p.Exit().Status, printed, a.root, p.dir), lastLines(printed)}
	return func() event { return e }
}

// pause waits, but not for a worker that has ended, nor longer than until.
func (p *workerProcess) pause(ctx context.Context, d time.Duration, until <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.Done():
	case <-until:
	case <-ctx.Done():
	}
}

// drain waits until nothing is under way on the worker, as long as it may,
// and ends streams when it is time. It returns how many requests were left.
func (p *workerProcess) drain(ctx context.Context, timeout time.Duration, development bool, why proxy.EndReason) (left int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() { // ends with ctx
		defer close(watched)
		select {
		case <-p.Done():
			cancel() // nothing can finish any more
		case <-ctx.Done():
		}
	}()
	defer func() { cancel(); <-watched }()
	streams := timeout
	if development {
		streams = min(timeout, devStreams)
	}
	deadline := time.Now().Add(timeout)
	if !p.drainUntil(ctx, time.Now().Add(streams)) {
		p.backend.EndStreams(why)
		if latest := time.Now().Add(closeStream); deadline.Before(latest) {
			deadline = latest
		}
		p.drainUntil(ctx, deadline)
	}
	return p.backend.InFlight()
}

func (p *workerProcess) drainUntil(ctx context.Context, deadline time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return p.backend.Drain(ctx) == nil
}
