package supervisor

import (
	"context"
	"slices"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// effect is something to do for a page. What may take time runs in the background,
// and its result is an event.
type effect interface{ do(a *actor) }

// startBuild builds. No build runs.
type startBuild struct {
	attempt
	dir     string
	settled time.Time // when the change is over that the build is about
}

func (e startBuild) do(a *actor) {
	ctx, cancel := context.WithCancel(a.backgroundCtx) // ended by the build, at the latest by cancelBuild
	a.cancelBuild = cancel
	a.background(func() func() event {
		defer cancel()
		latency := e.change.latency()
		res, err := a.builder.Build(ctx, e.dir, e.force)
		took := time.Since(e.startedAt)
		if res.Binary == "" {
			untilSettled(ctx, e.settled)
		}
		if ctx.Err() != nil {
			err = ctx.Err() // cancelled, if only just and whatever came of it: a newer one follows
		}
		if err != nil && ctx.Err() == nil && isMissing(e.dir) {
			err = context.Canceled // the page went, which the supervisor sees to
		}
		return func() event { return built{res, err, took, latency} }
	})
}

type cancelBuild struct{}

func (cancelBuild) do(a *actor) { a.cancelBuild() }

// prioritizeBuild has the build that runs go before others if requests wait for it.
type prioritizeBuild struct{ dir string }

func (e prioritizeBuild) do(a *actor) {
	if a.entry.Held() > 0 {
		a.prioritize(e.dir)
	}
}

// missSave notes that something is to be built when saves count again.
type missSave struct{}

func (missSave) do(a *actor) { a.missedSaves.Store(true) }

// learn finds out how a page can be built faster.
type learn struct {
	id  id
	dir string
}

func (e learn) do(a *actor) {
	ctx, cancel := context.WithCancel(a.backgroundCtx) // ended by Learn, at the latest by cancelLearning
	a.cancelLearning = cancel
	a.background(func() func() event {
		defer cancel()
		stale, err := a.builder.Optimize(ctx, e.dir)
		cancelled := ctx.Err() != nil
		return func() event { return learned{e.id, stale, err, cancelled} }
	})
}

type cancelLearning struct{}

func (cancelLearning) do(a *actor) { a.cancelLearning() }

// keep has binaries kept that may be needed again.
type keep struct {
	dir            string
	live, previous string
}

func (e keep) do(a *actor) { a.builder.Keep(e.dir, e.live, e.previous) }

// recordRollback writes down that a binary made way for another.
type recordRollback struct {
	dir  string
	bad  version
	good string
}

func (e recordRollback) do(a *actor) {
	a.background(func() func() event {
		err := a.builder.RecordRollback(e.dir, e.bad.binary, e.good)
		if err == nil {
			return nil
		}
		return func() event {
			return noted{state.LevelWarn, "cannot record that a build was rolled back", []state.Attr{state.Int("build", e.bad.build), state.String("err", err.Error())}}
		}
	})
}

// inspect checks whether a worker ended because its binary is damaged. The next
// start finds none then.
type inspect struct{ version }

func (e inspect) do(a *actor) {
	a.background(func() func() event {
		if !a.builder.RemoveDamaged(e.binary) {
			return nil
		}
		return func() event {
			return noted{state.LevelWarn, "removed a damaged binary: the page will be rebuilt when its worker exits", []state.Attr{state.Int("build", e.build), state.String("file", e.binary)}}
		}
	})
}

// claimPort has a start get a port: one that was kept for it, or a free one.
type claimPort struct {
	worker
	kept int
	cfg  settings
}

func (e claimPort) do(a *actor) {
	e.port = e.kept
	if e.port == 0 {
		var freed <-chan struct{}
		if e.port, freed = a.ports.acquire(); e.port == 0 {
			a.freed = freed
			a.post(noPort{e.id})
			return
		}
	}
	l := a.prepare(e.worker, e.cfg)
	a.launches[e.id] = l
	a.post(portClaimed{e.id, e.port, l.shownEnv})
}

// releasePort gives a port back that no start needs any more.
type releasePort struct {
	worker id // that it was claimed for; 0 for none
	port   int
}

func (e releasePort) do(a *actor) {
	delete(a.launches, e.worker)
	a.ports.release(e.port)
}

// launch starts a worker that has a port.
type launch struct {
	worker
	hidden time.Duration // from ready until it is started, or until reveal
}

func (e launch) do(a *actor) {
	l := a.launches[e.id]
	ctx, cancel := context.WithCancel(a.backgroundCtx) // ended when it is ready, at the latest by abandon
	l.cancel = cancel
	a.background(func() func() event {
		defer cancel()
		err := l.run(ctx, a.deps)
		if err == nil && e.hidden > 0 {
			l.pause(ctx, e.hidden, l.revealed)
		}
		if err != nil {
			failed := a.whyNot(e.worker, l, err)
			return func() event {
				delete(a.launches, e.id)
				a.ports.release(l.port)
				return failed
			}
		}
		return func() event {
			delete(a.launches, e.id)
			l.backend = l.newBackend(e.worker)
			a.processes[e.id] = l
			a.watch(e.id, l)
			return started{e.id, l.pid, l.ready, l.project}
		}
	})
}

// limitRequests has the proxy say when a worker has had so many requests.
type limitRequests struct {
	worker id
	limit  int
}

func (e limitRequests) do(a *actor) { a.processes[e.worker].backend.LimitRequests(e.limit) }

// reveal has a worker serve that is hidden.
type reveal struct{ worker id }

func (e reveal) do(a *actor) { close(a.launches[e.worker].revealed) }

// abandon gives up a start.
type abandon struct{ worker id }

func (e abandon) do(a *actor) { a.launches[e.worker].cancel() }

// discard stops a worker that is ready and not wanted any more.
type discard struct {
	worker id
	grace  time.Duration
}

func (e discard) do(a *actor) {
	p := a.processes[e.worker]
	delete(a.processes, e.worker)
	a.background(func() func() event {
		p.backend.Close()
		p.Stop(a.backgroundCtx, e.grace)
		return func() event {
			a.ports.release(p.port)
			return discarded{e.worker}
		}
	})
}

// lose clears up after a worker that ended by itself.
type lose struct{ worker id }

func (e lose) do(a *actor) {
	p := a.processes[e.worker]
	delete(a.processes, e.worker)
	p.backend.Close()
	a.ports.release(p.port)
}

// drain lets a worker finish the requests that it has, and stops it. Its port is
// released, unless it is kept.
type drain struct {
	worker   id
	why      proxy.EndReason
	planned  bool // another has taken its place
	keepPort bool
	cfg      settings
}

func (e drain) do(a *actor) {
	p := a.processes[e.worker]
	ctx, cancel := context.WithCancel(a.backgroundCtx) // ended when the drain is
	a.drains[e.worker] = cancel
	development := a.development()
	a.background(func() func() event {
		defer cancel()
		if delay := e.cfg.worker.RestartDelay; e.planned && delay > 0 {
			p.pause(ctx, delay, a.closeRequested)
		}
		cut := p.drain(ctx, e.cfg.worker.DrainTimeout, development, e.why)
		p.Stop(ctx, e.cfg.worker.ShutdownGracePeriod)
		return func() event {
			delete(a.processes, e.worker)
			delete(a.drains, e.worker)
			if !e.keepPort {
				a.ports.release(p.port)
			}
			return drained{e.worker, cut}
		}
	})
}

// cutDrain ends a drain at once.
type cutDrain struct{ worker id }

func (e cutDrain) do(a *actor) { a.drains[e.worker]() }

// route sends the page's requests somewhere else.
type route struct{ routing }

func (e route) do(a *actor) {
	switch {
	case e.serving != nil:
		if !slices.Equal(e.serving, a.serving) {
			backends := make([]*proxy.Backend, len(e.serving))
			for i, w := range e.serving {
				backends[i] = a.processes[w].backend
			}
			a.entry.Serve(backends...)
		}
		a.entry.SetNewer(e.newer)
	case e.refusal != nil:
		a.entry.Refuse(*e.refusal)
	case e.asleep:
		select {
		case <-a.requested: // by somebody who is held, or has gone
		default:
		}
		a.entry.Hold()
		if a.entry.Held() > 0 {
			a.post(requested{})
		}
	default:
		a.entry.Hold()
	}
	a.serving = e.serving
}

// probe checks the health of a worker.
type probe struct {
	worker id
	port   int
}

func (e probe) do(a *actor) {
	p := a.processes[e.worker]
	ctx, cancel := context.WithCancel(a.backgroundCtx)
	a.background(func() func() event {
		answered := make(chan error, 1)
		go func() { answered <- a.probe(ctx, e.port) }() // ends with ctx
		select {
		case err := <-answered:
			cancel()
			return func() event { return probed{e.worker, err} }
		case <-p.Done():
			cancel()
			<-answered
			return nil
		}
	})
}

// measureMemory measures the memory of a worker.
type measureMemory struct {
	worker id
	pid    int
}

func (e measureMemory) do(a *actor) {
	usage := a.usage
	a.background(func() func() event {
		u, err := usage(e.pid)
		return func() event { return memoryMeasured{e.worker, u.Memory, err} }
	})
}

// openLog has workers' output go to another file.
type setLog struct{ name config.LogFile }

func (e setLog) do(a *actor) {
	if old := a.out.setFile(e.name); old != nil {
		a.background(func() func() event {
			old.close()
			return nil
		})
	}
}

// publish tells the world of a page.
type publish struct{ event state.Event }

func (e *publish) do(a *actor) { a.store.Publish(e.event) }

// settle says that a configuration is in force.
type settle struct {
	who      id
	replaced bool
}

func (e settle) do(a *actor) {
	done := a.waiting[e.who]
	delete(a.waiting, e.who)
	done(e.replaced)
}

// reply says what came of a command.
type reply struct{ err error }

func (e reply) do(a *actor) { a.replied = e.err }
