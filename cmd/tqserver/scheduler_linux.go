package main

import (
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// takeTurns makes all threads of the server, and those to come, wait for their
// turn when they have something to do (SCHED_BATCH, sched(7)). By default they
// interrupt who woke them, a worker or a client that would be done in a moment,
// and each is switched to once more. What they start inherits it, but for the
// workers: internal/process sees to that. A policy that was chosen for the server
// stays.
func takeTurns() {
	seen := make(map[string]bool)
	for fresh := true; fresh; { // those that were not asked yet may have started others
		fresh = false
		threads, _ := filepath.Glob("/proc/self/task/*")
		for _, thread := range threads {
			if seen[thread] {
				continue
			}
			seen[thread], fresh = true, true
			id, _ := strconv.Atoi(filepath.Base(thread))
			if attr, err := unix.SchedGetAttr(id, 0); err == nil && attr.Policy == unix.SCHED_NORMAL {
				attr.Policy, attr.Runtime = unix.SCHED_BATCH, 0
				unix.SchedSetAttr(id, attr, 0)
			}
		}
	}
}
