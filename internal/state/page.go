package state

import (
	"fmt"
	"time"
)

// Server is what is known of the server itself.
type Server struct {
	Version     string    `json:"version"`
	PID         int       `json:"pid"`
	Root        string    `json:"root"` // the project's folder
	Started     time.Time `json:"started,omitzero"`
	URLs        []string  `json:"urls,omitempty"` // where it listens, the one to show first; none until it does
	Development bool      `json:"development"`
	Paused      bool      `json:"paused"`                 // saves start no builds
	ConfigError string    `json:"config_error,omitempty"` // why the configuration on disk is not in force

	Stopping bool      `json:"stopping"`         // it ends when the requests under way have
	StopBy   time.Time `json:"stop_by,omitzero"` // when those that are left are cut
}

// URL returns the URL to show, empty until the server listens.
func (s Server) URL() string {
	if len(s.URLs) == 0 {
		return ""
	}
	return s.URLs[0]
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
	Asleep   Phase = "asleep" // until the next request
	Stopped  Phase = "stopped"
	Waiting  Phase = "waiting"  // for a port
	Conflict Phase = "conflict" // several folders define the route, and none serves it
)

// Page is the whole truth about one page. Its slices are never changed after
// it was published.
type Page struct {
	Route        string    `json:"route"`
	Dir          string    `json:"dir,omitempty"` // relative to the project's folder if it lies below it
	Phase        Phase     `json:"phase"`
	Build        Build     `json:"build"`                   // the newest attempt
	ServingBuild int       `json:"serving_build,omitempty"` // number of the build that serves, or that will serve the next request of a page that sleeps; 0 for none
	Swap         Seconds   `json:"swap,omitempty"`          // from the good build to the first request it could get, 0 if none serves
	Trouble      Trouble   `json:"trouble,omitzero"`
	LastExit     Exit      `json:"last_exit,omitzero"` // the last worker to end by itself, or not to start
	Log          string    `json:"log,omitempty"`      // file of the workers' output, shown as Dir is; empty for none
	Workers      []Worker  `json:"workers,omitempty"`
	Instances    int       `json:"instances"` // workers that the page is to have
	Breaker      Breaker   `json:"breaker,omitempty"`
	Restarts     int       `json:"restarts"`       // since the server started, unplanned ones only
	Next         time.Time `json:"next,omitzero"`  // when a crashed page tries again
	Load         *Load     `json:"load,omitempty"` // in a Snapshot only, and only if the page has had anything to do

	AssetChanges int      `json:"asset_changes,omitempty"` // how often files of the page changed that need no build; counted in development only
	AssetFiles   []string `json:"asset_files,omitempty"`   // those of the last time, shown as Dir is; empty if it can be any
}

// Trouble is what is wrong with a page: why nothing serves it, why its newest
// version does not, or why another folder cannot. The zero Trouble is none. What
// is wrong with a build is in [Build.Problems].
type Trouble struct {
	Kind       TroubleKind `json:"kind"`
	Text       string      `json:"text"`                  // a sentence for people
	LastOutput string      `json:"last_output,omitempty"` // last lines of the worker that did not start, or crashed
}

// TroubleKind is the kind of a Trouble, by which front ends tell them apart.
type TroubleKind string

// The kinds of Trouble.
const (
	TroubleBuild    TroubleKind = "build"    // the newest version does not build
	TroubleStart    TroubleKind = "start"    // its worker does not start
	TroubleCrash    TroubleKind = "crash"    // its workers keep crashing
	TroubleRollback TroubleKind = "rollback" // they kept crashing, and an older build serves
	TroubleConflict TroubleKind = "conflict" // several folders define the route
)

// Build is one attempt to make a page's binary.
type Build struct {
	Number   int       `json:"number"`            // counts from 1 for each page
	Trigger  string    `json:"trigger,omitempty"` // the file whose change caused it, empty for the first
	Started  time.Time `json:"started,omitzero"`
	Took     Seconds   `json:"took,omitempty"`
	Cached   bool      `json:"cached"` // the binary was there already
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is one message of the compiler.
type Problem struct {
	File    string `json:"file,omitempty"` // relative to the project's folder if it lies below it; empty if the message has no place
	Line    int    `json:"line,omitempty"` // from 1, 0 for unknown
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"` // further lines follow a newline
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

// Breaker is what becomes of a page's requests when too many fail.
type Breaker string

// The states of a breaker. The zero value is that requests go to the page.
const (
	BreakerOpen   Breaker = "open"   // they are refused
	BreakerTrying Breaker = "trying" // one at a time goes to the page
)

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
	Role         Role      `json:"role"`
	Seat         int       `json:"seat"` // its place among the workers of the page, from 1
	PID          int       `json:"pid"`
	Port         int       `json:"port"`
	Build        int       `json:"build"`
	Since        time.Time `json:"since,omitzero"`          // it was started
	Restarts     int       `json:"restarts,omitempty"`      // in its seat, unplanned ones only
	FailedChecks int       `json:"failed_checks,omitempty"` // health checks that failed in a row
	EjectedUntil time.Time `json:"ejected_until,omitzero"`  // it gets no requests because it failed too many
	Trying       bool      `json:"trying,omitempty"`        // it was ejected, and one request tries it
	Binary       string    `json:"binary,omitempty"`
	Env          []string  `json:"env,omitempty"` // KEY=value, sorted; without the values of what may be a secret
}

// Exit is the end of a worker that nobody ended.
type Exit struct {
	PID   int    `json:"pid"`   // 0 if it could not be run
	Cause string `json:"cause"` // one line: how it ended, its last message and the place in the code
}

// Load is what a page has to do, and what its serving worker uses for that. It
// changes all the time, so it is measured at most four times a second, and only
// the newest is kept.
type Load struct {
	Page     string  `json:"page"`      // route
	Requests uint64  `json:"requests"`  // answered or refused since the server started
	Errors   uint64  `json:"errors"`    // of them, with a status of 500 or more
	InFlight int     `json:"in_flight"` // requests under way, streams included
	Draining int     `json:"draining"`  // of them, on workers that were replaced
	Upgraded int     `json:"upgraded"`  // of those in flight, WebSockets and the like
	Rate     float64 `json:"rate"`      // requests a second
	P50      Seconds `json:"p50"`       // of the responses of the last seconds that had any; streams do not count
	P95      Seconds `json:"p95"`
	P99      Seconds `json:"p99"`
	Memory   int64   `json:"memory"` // bytes resident, 0 if not known
	CPU      int     `json:"cpu"`    // percent of one CPU
}
