package supervisor

import (
	"context"
	"time"

	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// retire lets a worker finish what it has and stops it.
func (p *page) retire(w *worker, why proxy.EndReason, keepPort bool) {
	ctx, cancel := context.WithCancel(p.backgroundCtx) // ended when the drain is
	w.kill = cancel
	p.draining[w] = true
	cfg, planned := p.cfg, why == proxy.ServiceRestart && !keepPort
	p.background(func() func() {
		defer cancel()
		if planned && cfg.worker.RestartDelay > 0 {
			w.waitWhileAlive(ctx, cfg.worker.RestartDelay, p.closeRequested)
		}
		left := w.drain(ctx, cfg.worker.DrainTimeout, p.development(), why)
		w.Stop(ctx, cfg.worker.ShutdownGracePeriod)
		return func() { p.drainEnded(w, keepPort, left) }
	})
}

// stopUnused stops a worker that came up and is not wanted any more.
func (p *page) stopUnused(w *worker) {
	grace := p.cfg.worker.ShutdownGracePeriod
	p.background(func() func() {
		w.Stop(p.backgroundCtx, grace)
		return func() { p.ports.release(w.port); p.abandonedStarts-- }
	})
}

// drainEnded is the end of a worker that was replaced.
func (p *page) drainEnded(w *worker, keepPort bool, cut int) {
	delete(p.draining, w)
	attrs := []state.Attr{state.Int("build", w.build), state.Int("pid", w.pid), state.Int("port", w.port)}
	level, message := state.LevelInfo, "worker stopped"
	if cut > 0 {
		level, message = state.LevelWarn, "worker stopped with requests under way"
		attrs = append(attrs, state.Int("cut", cut))
	}
	a := p.waitingForPort
	if keepPort = keepPort && a != nil; keepPort && p.ports.contains(w.port) {
		p.reservedPort = w.port
	} else {
		p.ports.release(w.port)
	}
	p.publishEvent(level, message, attrs...)
	if keepPort {
		p.start(a) // without the port too: another may be free
	}
}

// waitWhileAlive waits, but not for a worker that has ended, nor longer than its page.
func (w *worker) waitWhileAlive(ctx context.Context, d time.Duration, ending <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.Done():
	case <-ending:
	case <-ctx.Done():
	}
}

// drain waits until nothing is under way on the worker, as long as it may,
// and ends streams when it is time. It returns how many requests were left.
func (w *worker) drain(ctx context.Context, timeout time.Duration, development bool, why proxy.EndReason) (left int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() { // ends with ctx
		defer close(watched)
		select {
		case <-w.Done():
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
	if !w.drainUntil(ctx, time.Now().Add(streams)) {
		w.backend.EndStreams(why)
		if latest := time.Now().Add(closeStream); deadline.Before(latest) {
			deadline = latest
		}
		w.drainUntil(ctx, deadline)
	}
	return w.backend.InFlight()
}

func (w *worker) drainUntil(ctx context.Context, deadline time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return w.backend.Drain(ctx) == nil
}
