package supervisor

import (
	"math/rand/v2"
	"time"

	"tqserver/internal/state"
)

const (
	firstPause  = 100 * time.Millisecond
	longPause   = 30 * time.Second
	resetAfter  = time.Minute
	burstAfter  = time.Second
	steadyGap   = time.Second
	devStreams  = time.Second
	closeStream = 500 * time.Millisecond
	portRecheck = time.Second
)

// pauseBefore is how long to wait before the next start after so many crashes
// in a row: not at all, then 100 ms doubling to 30 s, give or take a tenth so
// that pages which fell together do not rise together.
func pauseBefore(crashes int) time.Duration {
	if crashes <= 1 {
		return 0
	}
	pause := longPause
	if n := crashes - 2; n < 9 {
		pause = min(pause, firstPause<<n)
	}
	return pause - pause/10 + rand.N(pause/5)
}

// burst tells steady saving from a save now and then.
type burst struct{ since, last time.Time }

// starves notes a save during a build and reports whether the build must run
// to its end nevertheless, because saves, each within a second of the one
// before, have kept builds from it for a second.
func (b *burst) starves(now time.Time) bool {
	if b.last.IsZero() || now.Sub(b.last) >= steadyGap {
		b.since = now
	}
	b.last = now
	return now.Sub(b.since) >= burstAfter
}

// facts are what a page's phase follows from.
type facts struct {
	stopped, building, starting, portless, failed, serving, asleep, crashed bool
}

// phase is the word for a page: what was asked for first, then what is under
// way, then what is wrong.
func phase(f facts) state.Phase {
	switch {
	case f.stopped:
		return state.Stopped
	case f.building:
		return state.Building
	case f.portless && !f.serving:
		return state.Waiting
	case f.starting, f.portless:
		return state.Starting
	case f.failed:
		return state.Failed
	case f.serving:
		return state.Serving
	case f.asleep:
		return state.Asleep
	case f.crashed:
		return state.Crashed
	}
	return state.Starting
}

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
