package server

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// A process of which nobody asks anything collects no garbage for two minutes,
// and gives back what it freed bit by bit over minutes more. So that a crowd of
// clients does not leave a large server behind, it is told to once when most of
// them have left.

// crowdInterval is how often connections are counted.
const crowdInterval = 5 * time.Second

// releaseMemory gives memory back after crowds, until the context ends.
func (f *httpServer) releaseMemory(ctx context.Context) {
	tick := time.NewTicker(crowdInterval)
	defer tick.Stop()
	for c := (crowd{}); ; {
		select {
		case <-tick.C:
			if c.hasLeft(f.Connections()) {
				runtime.GC() // pools give up at the second what was read and written through (sync.Pool)
				debug.FreeOSMemory()
			}
		case <-ctx.Done():
			return
		}
	}
}

// manyClients is how many must have left for their memory to be worth a
// collection: they had some 20 MiB.
const manyClients = 1000

// crowd is the most connections that there were since memory was given back.
type crowd struct{ most int }

// hasLeft reports whether of a crowd less than half is there.
func (c *crowd) hasLeft(connections int) bool {
	c.most = max(c.most, connections)
	if c.most-connections < manyClients || connections > c.most/2 {
		return false
	}
	c.most = connections
	return true
}
