package supervisor

import (
	"time"

	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// idle is a time without requests.
type idle struct {
	since    time.Time
	requests uint64    // that had ended then
	at       time.Time // of the next check
}

// idleChecks is how often, in the time after which idle workers are stopped, the
// page is checked for requests.
const idleChecks = 4

// sleep has a row start with the next request, or at once if there is one.
// Nothing serves and nothing is on its way.
func (d *decision) sleep(next rollout, attrs ...state.Attr) {
	if d.now.held > 0 {
		d.roll(next)
		return
	}
	d.goal, d.dormant = asleep, next.version
	d.retryReason = ""
	d.publishEvent(state.LevelInfo, "asleep until the next request", append([]state.Attr{state.Int("build", next.version.build)}, attrs...)...)
}

// wake starts a page that sleeps.
func (d *decision) wake() {
	d.roll(rollout{version: d.dormant, reason: onDemand, before: d.lastServed})
}

// checkIdle has the page sleep if there was no request long enough, and checks
// again later if it may have to.
func (d *decision) checkIdle() {
	limit := d.cfg.worker.IdleStop
	if !d.serves() || !d.cfg.worker.OnDemand() || limit == 0 {
		d.idle = idle{}
		return
	}
	if d.idle.since.IsZero() || d.now.inFlight > 0 || d.now.requests != d.idle.requests {
		d.idle = idle{since: d.now.time, requests: d.now.requests}
	}
	if d.now.time.Sub(d.idle.since) < limit || d.building.id != 0 || d.coming() {
		d.idle.at = d.in(limit / idleChecks)
		return
	}
	d.idle = idle{}
	for i := range d.seats {
		d.retire(i, proxy.ServiceRestart, false)
	}
	d.sleep(rollout{version: d.lastServed, reason: onDemand}, state.Duration("idle", limit))
}
