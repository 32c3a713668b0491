package main

import (
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// setBatchScheduling sets SCHED_BATCH (sched(7)) for all threads of the server, and
// those that they start. With the default policy a thread that becomes runnable
// preempts the worker or client that woke it, which would have been done in a moment,
// and each is switched to once more. Child processes inherit the policy, except for
// workers, see internal/process. A policy that was chosen for the server stays.
func setBatchScheduling() {
	seen := make(map[string]bool)
	for fresh := true; fresh; { // a thread that was not set yet may have started others
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
