package proxy

import "time"

// bodyGrace is how long a client may be waited for before the rate of its body
// counts.
const bodyGrace = 10 * time.Second

// bodyRate is how fast a body must come: on average, over the time that was spent
// waiting for it. What the worker takes to accept it does not count.
type bodyRate struct {
	min    int // bytes a second; 0 for any
	grace  time.Duration
	bytes  int64
	waited time.Duration
	since  time.Time // the wait under way began, or zero
}

func (p *bodyRate) startWait() { p.since = time.Now() }

func (p *bodyRate) endWait(n int) {
	p.waited += time.Since(p.since)
	p.since = time.Time{}
	p.bytes += int64(n)
}

// remaining is how long the client may still be waited for.
func (p *bodyRate) remaining() time.Duration {
	const ever = 1 << 62
	paid := min(ever, float64(p.bytes)/float64(p.min)*float64(time.Second))
	left := max(p.grace, time.Duration(paid)) - p.waited
	if !p.since.IsZero() {
		left -= time.Since(p.since)
	}
	return left
}

// A client's kernel takes bytes before the client reads them, and when it is full
// it may say nothing until most of them were read. So the client may be as long
// over what was taken as if it read it at slowestReader, up to longestReading.
const (
	slowestReader  = 8 << 10 // bytes a second
	longestReading = 30 * time.Second
)

// clientProgress is what a client has clientProgress of what was written for it.
type clientProgress struct {
	bytes uint64    // at the last look
	until time.Time // the client may be reading them
}

// update notes what is taken by now, and reports whether it is more than before.
func (t *clientProgress) update(bytes uint64, now time.Time) (more bool) {
	if bytes <= t.bytes {
		return false
	}
	if t.until.Before(now) {
		t.until = now
	}
	reading := time.Duration(min(float64(bytes-t.bytes)/slowestReader, longestReading.Seconds()) * float64(time.Second))
	if t.until = t.until.Add(reading); t.until.Sub(now) > longestReading {
		t.until = now.Add(longestReading)
	}
	t.bytes = bytes
	return true
}
