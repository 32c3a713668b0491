package proxy

import (
	"sync"
	"time"

	"tqserver/internal/wire"
)

// past is a deadline that ends reads and writes under way.
var past = time.Unix(1, 0)

// stallTimer cuts an exchange in which nothing has moved for too long.
type stallTimer struct {
	x *exchange // that it is part of

	mu        sync.Mutex // guards all below, and the rate of the request's body
	watching  bool       // something must move
	expiresAt time.Time  // until which something must
	timer     *time.Timer
	firesAt   time.Time      // when timer fires, no later than expiresAt; zero if it does not
	acked     clientProgress // of the client
	unread    int            // by the worker, when it was last checked
	over      bool
}

func (s *stallTimer) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over, s.acked, s.unread = false, clientProgress{}, 0
}

func (s *stallTimer) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over, s.watching, s.expiresAt = true, false, time.Time{}
	if s.timer != nil && s.timer.Stop() {
		s.firesAt = time.Time{}
	}
}

// watch starts, or stops, to watch that something moves.
func (s *stallTimer) watch(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watching = on
	s.movedLocked()
}

// moved is called whenever something moved, and when the other side is to move.
func (s *stallTimer) moved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.movedLocked()
}

func (s *stallTimer) movedLocked() {
	timeout := s.x.settings.WriteTimeout
	if s.awaitsClient() {
		timeout = s.x.in.body.readTimeoutLocked(s.x.settings.ReadTimeout)
	}
	if s.over || !s.watching || timeout <= 0 {
		s.expiresAt = time.Time{}
		return
	}
	s.expiresAt = time.Now().Add(timeout)
	if s.firesAt.IsZero() || s.expiresAt.Before(s.firesAt) { // otherwise expire resets the timer
		s.resetTimerLocked(timeout)
	}
}

// checksPerTimeout is how often expire checks whether the client or the worker has
// read more, until nothing has moved for too long.
const checksPerTimeout = 4

// resetTimerLocked has expire called when a time is over, or earlier to check.
func (s *stallTimer) resetTimerLocked(left time.Duration) {
	if timeout := s.x.settings.WriteTimeout; timeout > 0 {
		left = min(left, max(1, timeout/checksPerTimeout))
	}
	s.firesAt = time.Now().Add(left)
	if s.timer == nil {
		s.timer = time.AfterFunc(left, s.expire)
	} else {
		s.timer.Reset(left)
	}
}

// awaitsClient reports whether it is the client who must move.
func (s *stallTimer) awaitsClient() bool { return s.x.in.body.reading() && !s.x.responding.Load() }

// expire cuts the exchange if nothing moved.
func (s *stallTimer) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.firesAt = time.Time{}
	if s.over || s.expiresAt.IsZero() {
		return
	}
	s.checkProgressLocked()
	if left := time.Until(s.expiresAt); left > 0 {
		s.resetTimerLocked(left)
		return
	}
	x, cause := s.x, errSlowWorker
	if s.awaitsClient() {
		cause = errSlowClient
	}
	if x.in.body.pending() {
		x.in.control.SetReadDeadline(past)
	}
	if x.responding.Load() {
		x.in.control.SetWriteDeadline(past)
	} else {
		x.in.control.SetWriteDeadline(time.Now().Add(endTimeout)) // for the refusal
	}
	x.cut(cause)
}

// checkProgressLocked checks whether the client has read more of the response, or the
// worker more of the request's body. The kernel may hold so much of either that
// nothing else shows for a long time that something moves.
func (s *stallTimer) checkProgressLocked() {
	now := time.Now()
	moved := s.workerReadLocked()
	if client := wire.ConnOf(s.x.in.Request); client != nil && s.x.responding.Load() {
		if bytes, more, ok := client.Acked(); ok {
			moved = s.acked.update(bytes, now) || moved
			if more && s.acked.until.After(s.expiresAt) {
				s.expiresAt = s.acked.until
			}
		}
	}
	if until := now.Add(s.x.settings.WriteTimeout); moved && until.After(s.expiresAt) {
		s.expiresAt = until
	}
}

// workerReadLocked reports whether the worker has read more of the request's body
// since the last check.
func (s *stallTimer) workerReadLocked() bool {
	if body := s.x.in.body; body == nil || body.reading() {
		return false
	}
	unread, ok := s.x.relay.attempt.Unread()
	moved := ok && unread != s.unread
	s.unread = unread
	return moved
}

// A client's kernel acknowledges bytes before the client reads them, and when it is
// full it may acknowledge nothing until most of them were read. So the client may
// take as long over what was acknowledged as if it read slowestReader, up to
// longestReading.
const (
	slowestReader  = 8 << 10 // bytes a second
	longestReading = 30 * time.Second
)

// clientProgress is how far the client has come with the response.
type clientProgress struct {
	bytes uint64    // acknowledged at the last update
	until time.Time // the client may be reading them
}

// update notes what is acknowledged by now, and reports whether it is more than before.
func (p *clientProgress) update(bytes uint64, now time.Time) (more bool) {
	if bytes <= p.bytes {
		return false
	}
	if p.until.Before(now) {
		p.until = now
	}
	reading := time.Duration(min(float64(bytes-p.bytes)/slowestReader, longestReading.Seconds()) * float64(time.Second))
	if p.until = p.until.Add(reading); p.until.Sub(now) > longestReading {
		p.until = now.Add(longestReading)
	}
	p.bytes = bytes
	return true
}
