package supervisor

import (
	"time"

	"tqserver/internal/build"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// event is something that happened to a page.
type event interface{ apply(d *decision) }

// What can happen.
type (
	opened     struct{}             // the page was found
	saved      struct{ change }     // a file that it is built from was
	requested  struct{}             // a request began to wait
	tick       struct{}             // page.wakeAt has come
	shutDown   struct{}             // the server ends
	removed    struct{}             // the page is not on disk any more
	conflicted struct{ why string } // several folders define the route; or not any more
	commanded  struct {             // by a person
		spec state.CommandSpec
		seat int // of one worker, from 1; 0 for all
	}

	moved struct { // to another folder
		dir string
		cfg settings
	}
	configured struct { // otherwise
		who     id
		cfg     settings
		rebuild bool
	}
	assetsChanged struct{ files []string } // that need no build; nil for any

	built struct {
		result  build.Result
		err     error
		took    time.Duration
		latency time.Duration // from the change to our notice of it
	}
	learned struct {
		id        id
		stale     bool
		err       error
		cancelled bool
	}

	portClaimed struct {
		worker id
		port   int
		env    []string // of the worker, as it may be shown
	}
	noPort    struct{ worker id }
	portFreed struct{}

	started struct { // a worker is ready
		worker  id
		pid     int
		ready   time.Time
		project folderID
	}
	startFailed struct {
		worker id
		pid    int // 0 if it never ran
		why    failure
		cause  string
		output string // the last of it
	}
	exited struct { // unplanned
		worker id
		pid    int
		cause  string
		output string
	}
	balanced struct { // the route ejected a worker, tries it or lets it back, or its breaker changed
		now proxy.Balancing
	}
	spent   struct{ worker id } // it has had its number of requests
	drained struct {
		worker id
		cut    int // requests that were still under way
	}
	discarded struct{ worker id } // a worker that was not wanted has ended

	probed struct {
		worker id
		err    error
	}
	memoryMeasured struct {
		worker id
		memory int64
		err    error
	}

	noted struct { // something worth a log line, by background work
		level   state.Level
		message string
		attrs   []state.Attr
	}
)

// failure is why a worker did not start.
type failure int

const (
	itsOwn        failure = iota // the program's
	portWasTaken                 // by another program
	binaryGone                   // and never ran
	binaryDamaged                // and is gone now
	noMeans                      // the system had none for a process
)
