package supervisor

import (
	"math/rand/v2"
	"time"
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

// resetBackoff forgets crashes: somebody did something about them.
func (p *page) resetBackoff() {
	p.crashes, p.overMemory, p.buildErrors, p.missingBinaries, p.shortages, p.takenPorts, p.staleBuilds = 0, 0, 0, 0, 0, 0, 0
	p.nextStart = time.Time{}
	p.retryTimer.Stop()
}

// startAfter plans a start.
func (p *page) startAfter(pause time.Duration, why reason, v version) {
	p.retryAfter(pause, func() { p.replace(why, v) })
}

// retryAfter plans what is to be tried again.
func (p *page) retryAfter(pause time.Duration, retrying func()) {
	p.nextStart = time.Now().Add(pause)
	p.retryTimer.Reset(pause)
	p.retryFunc = retrying
}

// retry is the end of a pause.
func (p *page) retry() {
	p.nextStart = time.Time{}
	if !p.stopped && !p.closing && p.building == nil && p.starting == nil && p.waitingForPort == nil {
		p.retryFunc()
	}
}
