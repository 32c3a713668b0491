package state

import (
	"fmt"
	"time"
)

// Snapshot is everything at one moment. It is immutable: share it freely.
type Snapshot struct {
	Seq    uint64 // of the last event it includes
	Server Server
	Pages  []Page // by route
	Loads  []Load // of those that had anything to do
}

// Server is what is known of the server itself.
type Server struct {
	Version     string
	PID         int
	Root        string // the project's folder
	URL         string // where it listens, empty until it does
	Started     time.Time
	Development bool
	Paused      bool   // saves are not acted on
	ConfigError string // why the configuration on disk is not the one in force

	Stopping bool      // it ends when the requests under way have
	StopBy   time.Time // when those that are left are cut
}

// Phase is the one word that says how a page is.
type Phase string

// The phases. A page that serves an older build while its newest failed is
// Failed, one that serves while the next is built is Building.
const (
	Building Phase = "building"
	Starting Phase = "starting"
	Serving  Phase = "serving"
	Failed   Phase = "failed"
	Crashed  Phase = "crashed"
	Asleep   Phase = "asleep" // until it is asked for
	Stopped  Phase = "stopped"
	Waiting  Phase = "waiting" // for a port
	Conflict Phase = "conflict"
)

// Page is the whole truth about one page. Its slices are never changed after
// it was published.
type Page struct {
	Route, Dir   string // Dir is relative to the project's folder where it lies below it
	Phase        Phase
	Build        Build         // the newest attempt
	ServingBuild int           // number of the build that serves, or will as soon as a page that sleeps is asked for; 0 for none
	Swap         time.Duration // from the good build to the first request it could get, 0 if none serves
	Problem      string
	LastOutput   string // what a worker that did not start printed last
	LastExit     Exit   // the last worker to end by itself, or not to start
	Log          string // file that the workers' output goes to, shown as Dir is; empty for none
	Workers      []Worker
	Restarts     int       // since the server started, unplanned ones only
	Next         time.Time // when a crashed page tries again

	AssetChanges int      // how often files of the page changed that need no build; counted in development only
	AssetFiles   []string // those of the last time, shown as Dir is; empty if it can be any
}

// Build is one attempt to make a page's binary.
type Build struct {
	Number   int    // counts from 1 for each page
	Trigger  string // the file whose change caused it, empty for the first
	Started  time.Time
	Took     time.Duration
	Cached   bool // the binary was there already
	Problems []Problem
}

// Problem is one message of the compiler.
type Problem struct {
	File         string // relative to the project's folder where it lies below it; empty if the message has no place
	Line, Column int    // from 1, 0 for unknown
	Message      string // further lines follow a newline
}

// String formats p as the go command does: file:line:column: message.
func (p Problem) String() string {
	switch {
	case p.File == "":
		return p.Message
	case p.Line == 0:
		return p.File + ": " + p.Message
	case p.Column == 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Role is what a worker does for its page.
type Role string

// The roles, in the order of a worker's life.
const (
	RoleStarting Role = "starting"
	RoleServing  Role = "serving"
	RoleDraining Role = "draining"
)

// Worker is one process of a page.
type Worker struct {
	Role         Role
	PID, Port    int
	Build        int
	Since        time.Time // it was started
	FailedChecks int       // health checks failed in a row
	Binary       string
	Env          []string // KEY=value, sorted; what may be a secret is not told
}

// Exit is the end of a worker that nobody asked for.
type Exit struct {
	PID   int    // 0 if it could not be run
	Cause string // in one line: how it ended and what it said of it, with the place in the code
}

// Load is what a page has to do, and what its serving worker takes for that.
// Unlike a [Page] it changes all the time: it is measured, at most four times
// a second, and only the newest is kept.
type Load struct {
	Page     string // route
	Requests uint64 // answered or refused since the server started
	Errors   uint64 // of them, with a status of 500 or more
	InFlight int    // requests under way, streams included
	Draining int    // of them, on workers that were replaced
	Upgraded int    // of those in flight, WebSockets and the like
	Rate     float64
	P50, P95 time.Duration // of the answers of the last seconds that had any; streams do not count
	Memory   int64         // bytes resident, 0 if not known
	CPU      int           // percent of one CPU
}
