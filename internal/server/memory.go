package server

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// An idle process collects no garbage for two minutes, and returns freed memory to
// the kernel over several minutes more. So that a crowd of clients does not leave a
// large server behind, the server releases memory when most of them have left.

// crowdInterval is how often connections are counted.
const crowdInterval = 5 * time.Second

// releaseMemory returns memory to the kernel after crowds of clients, until the
// context ends.
func (f *httpServer) releaseMemory(ctx context.Context) {
	tick := time.NewTicker(crowdInterval)
	defer tick.Stop()
	for c := (crowd{}); ; {
		select {
		case <-tick.C:
			if c.hasLeft(f.Connections()) {
				runtime.GC() // a sync.Pool drops its buffers only at the second collection
				debug.FreeOSMemory()
			}
		case <-ctx.Done():
			return
		}
	}
}

// manyClients is how many clients must have left to make a collection worthwhile:
// they used about 20 MiB.
const manyClients = 1000

// crowd holds the largest number of connections since memory was released.
type crowd struct{ most int }

// hasLeft reports whether more than half of a crowd has left, and resets it then.
func (c *crowd) hasLeft(connections int) bool {
	c.most = max(c.most, connections)
	if c.most-connections < manyClients || connections > c.most/2 {
		return false
	}
	c.most = connections
	return true
}
