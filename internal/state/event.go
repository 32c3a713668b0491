package state

import (
	"context"
	"time"
)

// Event is something that happened.
type Event struct {
	Seq     uint64 // set by the store
	Time    time.Time
	Level   Level
	Message string // constant text; empty if only the state changed, which is not worth a log line
	Attrs   []Attr

	Page    *Page   // the page as it is now, nil if the event is about none
	Removed bool    // the page is gone
	Server  *Server // the server as it is now, nil if that did not change
}

// Line is one line of a worker's output, without its line end, or of what is
// said of a request.
type Line struct {
	Seq     uint64 // set by the store
	Time    time.Time
	Page    string // route; empty for a request that belongs to none
	PID     int
	Stderr  bool
	Partial bool // it has not ended: the next line of the same process and stream is to be shown in its place
	Access  bool // it tells of a request, and no worker printed it
	Status  int  // of that request; 0 if the line is about several
	Text    string
}

// Stream is what lines come from.
type Stream struct {
	Page   string
	PID    int
	Stderr bool
}

// Stream returns what a line of output comes from.
func (l Line) Stream() Stream { return Stream{l.Page, l.PID, l.Stderr} }

// Update is what happened since a cursor. Its slices are the reader's.
type Update struct {
	Seq      uint64    // the next cursor
	Gap      bool      // events or lines were missed: begin again with Snapshot
	Snapshot *Snapshot // with Gap, with a cursor of 0, and if older events do not have their Page any more
	Events   []Event
	Lines    []Line
	Loads    []Load // that changed
}

// Verb is what a command asks for.
type Verb string

// The verbs. Those that act on a page act on all pages if none is named.
const (
	Rebuild  Verb = "rebuild"  // even if nothing changed
	Restart  Verb = "restart"  // without building, without downtime
	Start    Verb = "start"    // a stopped page
	Stop     Verb = "stop"     // requests under way finish
	Kill     Verb = "kill"     // at once
	Reload   Verb = "reload"   // the configuration
	Pause    Verb = "pause"    // saves are noted, not acted on
	Resume   Verb = "resume"   // what was saved meanwhile is built
	Shutdown Verb = "shutdown" // in order
)

// Command is a wish of a front end. Its success is seen through state like
// any other change.
type Command struct {
	Verb Verb
	Page string // route, or empty
}

// Source is how a front end sees and steers a server, near or far.
type Source interface {
	// Next waits until something happened after the cursor and returns it.
	// A cursor of 0 gets a snapshot at once. The error is the context's.
	Next(ctx context.Context, after uint64) (Update, error)
	// Tail returns the last n lines kept of a page's output, oldest first.
	Tail(ctx context.Context, page string, n int) ([]Line, error)
	// Do has a command carried out and returns when it was accepted, or why
	// it cannot be.
	Do(ctx context.Context, cmd Command) error
}
