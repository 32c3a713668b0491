package supervisor

import (
	"time"

	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// idlePeriod is a time in which nobody asked for the page.
type idlePeriod struct {
	since    time.Time
	requests uint64 // that had ended then
}

// idleChecks is how often, in the time after which a worker is stopped, it is looked
// whether anybody asks.
const idleChecks = 4

// sleep has a start wait until the page is asked for, which it may be already.
// Nothing serves and nothing is on its way.
func (p *page) sleep(a *startAttempt, attrs ...state.Attr) {
	select {
	case <-p.waiting: // who did is held, or has gone
	default:
	}
	p.entry.Hold()
	if p.entry.Held() > 0 {
		p.start(a)
		return
	}
	p.asleep = &startAttempt{worker: worker{version: a.version}, reason: onDemand, replaces: p.lastServed}
	p.retryReason = ""
	p.publishEvent(state.LevelInfo, "asleep until the next request", append([]state.Attr{state.Int("build", a.build)}, attrs...)...)
}

// wokenUp fires when a page that sleeps is asked for. Who asks while it is built
// waits for that.
func (p *page) wokenUp() <-chan struct{} {
	if p.asleep == nil || p.building != nil {
		return nil
	}
	return p.waiting
}

// buildAwaited fires when people begin to wait for a page that is being built.
func (p *page) buildAwaited() <-chan struct{} {
	if p.building == nil {
		return nil
	}
	return p.waiting
}

// checkIdle has the page sleep if nobody has asked for it long enough, and looks
// again later if it may have to.
func (p *page) checkIdle() {
	p.idleTimer.Stop()
	w, limit := p.serving, p.cfg.worker.IdleStop
	if w == nil || !p.cfg.worker.OnDemand() || limit == 0 {
		p.idle = idlePeriod{}
		return
	}
	now, t := time.Now(), p.entry.Traffic()
	if p.idle.since.IsZero() || t.InFlight > 0 || t.Requests != p.idle.requests {
		p.idle = idlePeriod{since: now, requests: t.Requests}
	}
	if now.Sub(p.idle.since) < limit || p.building != nil || p.pendingStart() != nil {
		p.idleTimer.Reset(limit / idleChecks)
		return
	}
	p.idle = idlePeriod{}
	p.serving = nil
	p.healthyTimer.Stop()
	p.healthTimer.Stop()
	p.memoryTimer.Stop()
	p.sleep(&startAttempt{worker: worker{version: w.version}, reason: onDemand}, state.Duration("idle", limit))
	p.retire(w, proxy.ServiceRestart, false)
}
