package wire

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// idleQueue is the connections that wait for a request, the one that waits longest
// first. Where there is room it costs a request too much to keep, so it is made
// when room is wanted, and kept until there is plenty.
type idleQueue struct {
	active atomic.Bool // written under Server.mu
	idle   []idleConn
	unused []idleConn // that have sent no request yet
}

// idleConn is a connection and since when it waits. It is out of date when the
// connection does not wait since then any more.
type idleConn struct {
	c     *Conn
	since int64
}

func (w idleConn) isCurrent() bool { return w.c.idleSince.Load() == w.since }

// buildLocked begins to keep a line of the connections that there are.
func (l *idleQueue) buildLocked(conns map[*Conn]struct{}) {
	l.active.Store(true) // before anybody is looked at, so that who begins to wait now comes too
	for c := range conns {
		l.addLocked(c, len(conns))
	}
	for _, waiting := range [][]idleConn{l.idle, l.unused} {
		slices.SortFunc(waiting, func(a, b idleConn) int { return cmp.Compare(a.since, b.since) })
	}
}

// addLocked takes a connection in, if it waits, where there are so many.
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

// popLocked takes out the connection that waits longest. Those that have sent no
// request come only if they wait since a time or longer.
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

// resetLocked keeps no line any more.
func (l *idleQueue) resetLocked() {
	l.active.Store(false)
	l.idle, l.unused = nil, nil
}
