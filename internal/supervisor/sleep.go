package supervisor

import (
	"log/slog"
	"time"

	"tqserver/internal/proxy"
)

// lull is a time in which nobody asked for the page.
type lull struct {
	since    time.Time
	requests uint64 // that had ended then
}

// looks is how often, in the time after which a worker is stopped, it is looked
// whether anybody asks.
const looks = 4

// sleep has a start wait until the page is asked for, which it may be already.
// Nothing serves and nothing is on its way.
func (p *page) sleep(a *startAttempt, attrs ...slog.Attr) {
	select {
	case <-p.asked: // who did is held, or has gone
	default:
	}
	p.entry.Hold()
	if p.entry.Held() > 0 {
		p.start(a)
		return
	}
	p.asleep = &startAttempt{worker: worker{version: a.version}, reason: onDemand, before: p.live}
	p.redo = ""
	p.tell(slog.LevelInfo, "asleep until the next request", append([]slog.Attr{slog.Int("build", a.build)}, attrs...)...)
}

// awaited fires when a page that sleeps is asked for. Who asks while it is built
// waits for that.
func (p *page) awaited() <-chan struct{} {
	if p.asleep == nil || p.building != nil {
		return nil
	}
	return p.asked
}

// awaitedBuild fires when people begin to wait for a page that is being built.
func (p *page) awaitedBuild() <-chan struct{} {
	if p.building == nil {
		return nil
	}
	return p.asked
}

// lookIdle has the page sleep if nobody has asked for it long enough, and looks
// again later if it may have to.
func (p *page) lookIdle() {
	p.idle.Stop()
	w, limit := p.serving, p.cfg.workers.IdleStop
	if w == nil || !p.cfg.workers.OnDemand() || limit == 0 {
		p.lull = lull{}
		return
	}
	now, t := time.Now(), p.entry.Traffic()
	if p.lull.since.IsZero() || t.InFlight > 0 || t.Requests != p.lull.requests {
		p.lull = lull{since: now, requests: t.Requests}
	}
	if now.Sub(p.lull.since) < limit || p.building != nil || p.coming() != nil {
		p.idle.Reset(limit / looks)
		return
	}
	p.lull = lull{}
	p.serving = nil
	p.calm.Stop()
	p.health.Stop()
	p.scales.Stop()
	p.sleep(&startAttempt{worker: worker{version: w.version}, reason: onDemand}, slog.Duration("idle", limit))
	p.retire(w, proxy.ServiceRestart, false)
}
