package wire

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// line is the connections that wait for a request, the one that waits longest
// first. Where there is room it costs a request too much to keep, so it is made
// when room is wanted, and kept until there is plenty.
type line struct {
	kept  atomic.Bool // written under Server.mu
	idle  []waiter
	fresh []waiter // that have sent no request yet
}

// waiter is a connection and since when it waits. It is out of date when the
// connection does not wait since then any more.
type waiter struct {
	c     *Conn
	since int64
}

func (w waiter) waits() bool { return w.c.waiting.Load() == w.since }

// makeLocked begins to keep a line of the connections that there are.
func (l *line) makeLocked(conns map[*Conn]struct{}) {
	l.kept.Store(true) // before anybody is looked at, so that who begins to wait now comes too
	for c := range conns {
		l.joinLocked(c, len(conns))
	}
	for _, waiting := range [][]waiter{l.idle, l.fresh} {
		slices.SortFunc(waiting, func(a, b waiter) int { return cmp.Compare(a.since, b.since) })
	}
}

// joinLocked takes a connection in, if it waits, where there are so many.
func (l *line) joinLocked(c *Conn, conns int) {
	since := c.waiting.Load()
	if since == 0 {
		return
	}
	at := &l.idle
	if c.stage.Load() == fresh {
		at = &l.fresh
	}
	if len(*at) > 2*conns {
		*at = slices.DeleteFunc(*at, func(w waiter) bool { return !w.waits() })
	}
	*at = append(*at, waiter{c, since})
}

// nextLocked takes out the connection that waits longest. Those that have sent no
// request come only if they wait since a time or longer.
func (l *line) nextLocked(young int64) (longest waiter, ok bool) {
	for _, waiting := range []*[]waiter{&l.idle, &l.fresh} {
		for len(*waiting) > 0 && !(*waiting)[0].waits() {
			*waiting = (*waiting)[1:]
		}
	}
	at := &l.idle
	if len(l.fresh) > 0 && l.fresh[0].since <= young && (len(l.idle) == 0 || l.fresh[0].since < l.idle[0].since) {
		at = &l.fresh
	}
	if at == &l.idle && len(l.idle) == 0 {
		return waiter{}, false
	}
	longest = (*at)[0]
	*at = (*at)[1:]
	return longest, true
}

// dropLocked keeps no line any more.
func (l *line) dropLocked() {
	l.kept.Store(false)
	l.idle, l.fresh = nil, nil
}
