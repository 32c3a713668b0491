package supervisor

import (
	"context"
	"net/http"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/policy"
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
