package balance

import "sync/atomic"

// roundRobin chooses one worker after another.
type roundRobin struct{ next atomic.Uint64 }

func (r *roundRobin) Choose(_ *Request, _ []Worker, open Set) int {
	turn := r.next.Add(1) - 1
	return open.at(int(turn % uint64(open.Len())))
}
