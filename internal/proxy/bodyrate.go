package proxy

import "time"

// bodyGrace is how long reads may wait for a client before the rate of its body counts.
const bodyGrace = 10 * time.Second

// bodyRate is how fast a body must come on average, over the time that reads waited for
// it. The time that the worker takes to accept it does not count.
type bodyRate struct {
	min    int // bytes a second; 0 for any
	grace  time.Duration
	bytes  int64
	waited time.Duration
	since  time.Time // the wait under way began, or zero
}

func (r *bodyRate) startWait() { r.since = time.Now() }

func (r *bodyRate) endWait(n int) {
	r.waited += time.Since(r.since)
	r.since = time.Time{}
	r.bytes += int64(n)
}

// remaining returns how long reads may still wait for the client.
func (r *bodyRate) remaining() time.Duration {
	const ever = 1 << 62
	paid := min(ever, float64(r.bytes)/float64(r.min)*float64(time.Second))
	left := max(r.grace, time.Duration(paid)) - r.waited
	if !r.since.IsZero() {
		left -= time.Since(r.since)
	}
	return left
}
