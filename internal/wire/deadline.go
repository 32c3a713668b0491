package wire

import (
	"errors"
	"time"
)

func (c *Conn) setOwnDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ownDeadline, c.userDeadline = t, time.Time{} // the latter was for the request before
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

// armDeadlineLocked sets the next deadline. It leaves one in place that comes too
// early: deadlineExpired then sets the right one, which is cheaper than moving the
// deadline, or asking for the time, at each request.
func (c *Conn) armDeadlineLocked() error {
	if c.watchStopping {
		return nil // the deadline that is set ends awaitDisconnect
	}
	due := c.nextDeadlineLocked()
	if due.Equal(c.armedDeadline) || !c.armedDeadline.IsZero() && (due.IsZero() || due.After(c.armedDeadline)) {
		return nil
	}
	c.armedDeadline = due
	return c.tcp.SetReadDeadline(due)
}

// deadlineExpired reports whether the next deadline has passed. If not, it sets it.
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

// ownDeadlineExpired reports whether the server's own deadline has passed.
func (c *Conn) ownDeadlineExpired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.ownDeadline.IsZero() && !c.ownDeadline.After(time.Now())
}

// SetWriteDeadline may be called from any goroutine.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.tcp.SetWriteDeadline(t) }
