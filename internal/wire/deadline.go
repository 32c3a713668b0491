package wire

import (
	"errors"
	"time"
)

func (c *Conn) setOwnDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ownDeadline, c.userDeadline = t, time.Time{} // which was for what is over
	c.armDeadlineLocked()
}

// SetReadDeadline may be called from any goroutine.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.userDeadline = t
	return c.armDeadlineLocked()
}

// SetDeadline may be called from any goroutine.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.tcp.SetWriteDeadline(t))
}

func (c *Conn) nextDeadlineLocked() time.Time {
	if c.ownDeadline.IsZero() || !c.userDeadline.IsZero() && c.userDeadline.Before(c.ownDeadline) {
		return c.userDeadline
	}
	return c.ownDeadline
}

// armDeadlineLocked sets the deadline that is due next. One that comes too early is left
// in place: [Conn.expired] sees that it was not meant, which is cheaper than to
// move it, or to ask for the time, at each request.
func (c *Conn) armDeadlineLocked() error {
	if c.watchStopping {
		return nil // what is set ends the watch
	}
	due := c.nextDeadlineLocked()
	if due.Equal(c.armedDeadline) || !c.armedDeadline.IsZero() && (due.IsZero() || due.After(c.armedDeadline)) {
		return nil
	}
	c.armedDeadline = due
	return c.tcp.SetReadDeadline(due)
}

// deadlineExpired reports whether a deadline is over that is meant, and sets the next
// one if not.
func (c *Conn) deadlineExpired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.nextDeadlineLocked()
	if c.watchStopping || !due.IsZero() && !due.After(time.Now()) {
		return true
	}
	c.armedDeadline = due
	c.tcp.SetReadDeadline(due)
	return false
}

// ownDeadlineExpired reports whether it is our deadline that is over.
func (c *Conn) ownDeadlineExpired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.ownDeadline.IsZero() && !c.ownDeadline.After(time.Now())
}

// SetWriteDeadline may be called from any goroutine.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.tcp.SetWriteDeadline(t) }
