package wire

import (
	"errors"
	"time"
)

func (c *Conn) setOurs(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ours, c.theirs = t, time.Time{} // which was for what is over
	c.armLocked()
}

// SetReadDeadline may be called from any goroutine.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.theirs = t
	return c.armLocked()
}

// SetDeadline may be called from any goroutine.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.tcp.SetWriteDeadline(t))
}

func (c *Conn) dueLocked() time.Time {
	if c.ours.IsZero() || !c.theirs.IsZero() && c.theirs.Before(c.ours) {
		return c.theirs
	}
	return c.ours
}

// armLocked sets the deadline that is due next. One that comes too early is left
// in place: [Conn.expired] sees that it was not meant, which is cheaper than to
// move it, or to ask for the time, at each request.
func (c *Conn) armLocked() error {
	if c.ending {
		return nil // what is set ends the watch
	}
	due := c.dueLocked()
	if due.Equal(c.armed) || !c.armed.IsZero() && (due.IsZero() || due.After(c.armed)) {
		return nil
	}
	c.armed = due
	return c.tcp.SetReadDeadline(due)
}

// expired reports whether a deadline is over that is meant, and sets the next
// one if not.
func (c *Conn) expired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.dueLocked()
	if c.ending || !due.IsZero() && !due.After(time.Now()) {
		return true
	}
	c.armed = due
	c.tcp.SetReadDeadline(due)
	return false
}

// overdue reports whether it is our deadline that is over.
func (c *Conn) overdue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.ours.IsZero() && !c.ours.After(time.Now())
}

// SetWriteDeadline may be called from any goroutine.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.tcp.SetWriteDeadline(t) }
