package proxy

import "time"

// bodyGrace is how long a client may be waited for before the rate of its body
// counts.
const bodyGrace = 10 * time.Second

// pace is how fast a body must come: on average, over the time that was spent
// waiting for it. What the worker takes to accept it does not count.
type pace struct {
	rate   int // bytes a second; 0 for any
	grace  time.Duration
	bytes  int64
	waited time.Duration
	since  time.Time // the wait under way began, or zero
}

func (p *pace) wait() { p.since = time.Now() }

func (p *pace) got(n int) {
	p.waited += time.Since(p.since)
	p.since = time.Time{}
	p.bytes += int64(n)
}

// left is how long the client may still be waited for.
func (p *pace) left() time.Duration {
	const ever = 1 << 62
	paid := min(ever, float64(p.bytes)/float64(p.rate)*float64(time.Second))
	left := max(p.grace, time.Duration(paid)) - p.waited
	if !p.since.IsZero() {
		left -= time.Since(p.since)
	}
	return left
}
