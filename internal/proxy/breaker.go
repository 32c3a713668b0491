package proxy

import "time"

// BreakerState is what a breaker does with requests.
type BreakerState int

// The states of a breaker.
const (
	BreakerClosed BreakerState = iota // they go to the page
	BreakerOpen                       // they are refused
	BreakerTrying                     // one at a time goes to the page, the others are refused
)

// breaker decides whether requests go to a page, by how many have failed. It has no
// clock: the time is an argument.
type breaker struct {
	limits *Balance
	state  BreakerState
	phase  uint64    // a number for each stay in a state
	until  time.Time // when an open one begins to try
	window window    // of a closed one
	trying bool      // a request does
	good   int       // in a row, while it tries
}

// goodTries is how many requests in a row must succeed to close a breaker.
const goodTries = 3

func newBreaker(limits *Balance, now time.Time) *breaker {
	b := &breaker{limits: limits}
	b.enter(BreakerClosed, now)
	return b
}

// admit reports whether a request may go to the page, and if so in which phase it went.
func (b *breaker) admit(now time.Time) (phase uint64, ok bool) {
	if b.state == BreakerOpen && !now.Before(b.until) {
		b.enter(BreakerTrying, now)
	}
	if b.state == BreakerOpen || b.trying {
		return 0, false
	}
	b.trying = b.state == BreakerTrying
	return b.phase, true
}

// ended notes how a request ended that was admitted in some phase: a bad end is that it
// failed. What was admitted in an earlier phase does not count.
func (b *breaker) ended(phase uint64, how end, now time.Time) {
	if phase != b.phase {
		return
	}
	b.trying = false
	switch {
	case how == unknownEnd:
	case b.state == BreakerClosed:
		b.window.add(how == badEnd, now)
		if how == badEnd && b.window.exceeds(b.limits) {
			b.enter(BreakerOpen, now)
		}
	case how == badEnd:
		b.enter(BreakerOpen, now)
	default:
		if b.good++; b.good == goodTries {
			b.enter(BreakerClosed, now)
		}
	}
}

func (b *breaker) enter(state BreakerState, now time.Time) {
	b.state, b.trying, b.good = state, false, 0
	b.phase++
	b.until = time.Time{}
	switch state {
	case BreakerOpen:
		b.until = now.Add(b.limits.BreakerOpen)
	case BreakerClosed:
		b.window = window{start: now, slot: max(1, b.limits.BreakerWindow/slots)}
	}
}

// slots is in how many parts a window moves on.
const slots = 10

// window counts the requests of the last slots.
type window struct {
	start  time.Time
	slot   time.Duration
	newest int64 // since start, which is in slot 0
	counts [slots]tally
}

type tally struct{ requests, failures int }

func (w *window) add(failed bool, now time.Time) {
	age := max(w.newest, int64(now.Sub(w.start)/w.slot))
	if age-w.newest >= slots {
		w.counts = [slots]tally{}
		w.newest = age
	}
	for w.newest < age {
		w.newest++
		w.counts[w.newest%slots] = tally{}
	}
	c := &w.counts[age%slots]
	c.requests++
	if failed {
		c.failures++
	}
}

// exceeds reports whether so many requests failed that the breaker is to open.
func (w *window) exceeds(limits *Balance) bool {
	var all tally
	for _, c := range w.counts {
		all.requests += c.requests
		all.failures += c.failures
	}
	return all.requests >= limits.BreakerMinRequests && all.failures*100 >= limits.BreakerPercent*all.requests
}
