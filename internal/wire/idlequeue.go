package wire

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// idleQueue holds the idle connections, the one that has been idle longest first.
// Keeping it costs too much for each request while there is capacity. So it is
// built when capacity is needed, and kept until there is plenty.
type idleQueue struct {
	active atomic.Bool // written with Server.mu held
	idle   []idleConn
	unused []idleConn // have sent no request yet
}

// idleConn is a connection that has been idle since a time. It is out of date when
// the connection has been used since.
type idleConn struct {
	c     *Conn
	since int64
}

func (w idleConn) isCurrent() bool { return w.c.idleSince.Load() == w.since }

// buildLocked fills the queue with the idle ones among conns.
func (l *idleQueue) buildLocked(conns map[*Conn]struct{}) {
	l.active.Store(true) // first, so that a connection that becomes idle meanwhile is added too
	for c := range conns {
		l.addLocked(c, len(conns))
	}
	for _, waiting := range [][]idleConn{l.idle, l.unused} {
		slices.SortFunc(waiting, func(a, b idleConn) int { return cmp.Compare(a.since, b.since) })
	}
}

// addLocked adds c if it is idle. Conns is the number of connections.
func (l *idleQueue) addLocked(c *Conn, conns int) {
	since := c.idleSince.Load()
	if since == 0 {
		return
	}
	at := &l.idle
	if c.stage.Load() == stageNew {
		at = &l.unused
	}
	if len(*at) > 2*conns {
		*at = slices.DeleteFunc(*at, func(w idleConn) bool { return !w.isCurrent() })
	}
	*at = append(*at, idleConn{c, since})
}

// popLocked removes and returns the connection that has been idle longest. A
// connection that has sent no request counts only if it has been idle since young
// or before.
func (l *idleQueue) popLocked(young int64) (longest idleConn, ok bool) {
	for _, waiting := range []*[]idleConn{&l.idle, &l.unused} {
		for len(*waiting) > 0 && !(*waiting)[0].isCurrent() {
			*waiting = (*waiting)[1:]
		}
	}
	at := &l.idle
	if len(l.unused) > 0 && l.unused[0].since <= young && (len(l.idle) == 0 || l.unused[0].since < l.idle[0].since) {
		at = &l.unused
	}
	if at == &l.idle && len(l.idle) == 0 {
		return idleConn{}, false
	}
	longest = (*at)[0]
	*at = (*at)[1:]
	return longest, true
}

// resetLocked empties the queue and stops keeping it.
func (l *idleQueue) resetLocked() {
	l.active.Store(false)
	l.idle, l.unused = nil, nil
}
