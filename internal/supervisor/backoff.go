package supervisor

import (
	"hash/fnv"
	"strconv"
	"time"
)

const (
	firstPause  = 100 * time.Millisecond
	longPause   = 30 * time.Second
	resetAfter  = time.Minute
	devStreams  = time.Second
	closeStream = 500 * time.Millisecond
	portRecheck = time.Second
)

// pauseBefore is how long to wait before the next start after so many crashes
// in a row: not at all, then 100 ms doubling to 30 s, give or take a tenth, which
// depends on who crashed, so that those which fell together do not rise together.
func pauseBefore(crashes int, who string) time.Duration {
	if crashes <= 1 {
		return 0
	}
	pause := longPause
	if n := crashes - 2; n < 9 {
		pause = min(pause, firstPause<<n)
	}
	h := fnv.New32a()
	h.Write([]byte(who + strconv.Itoa(crashes)))
	return pause - pause/10 + time.Duration(h.Sum32())%(pause/5)
}

// pause is how long a seat waits after so many failures in a row.
func (d *decision) pause(seat, failures int) time.Duration {
	return pauseBefore(failures, d.route+" "+strconv.Itoa(seat)+" ")
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
	rolledBack    reason = "rollback"
	onDemand      reason = "on_demand"
	moreInstances reason = "instances"
)

// insists reports whether a start that failed beside a serving worker is
// tried again by itself. The program is known to start then; a version that
// does not is tried once.
func (r reason) insists() bool { return r == maxRequests || r == maxMemory || r == lostHealth }
