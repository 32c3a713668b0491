package state

import "time"

// Event is something that happened.
type Event struct {
	Seq     uint64    `json:"seq"` // set by the store
	Time    time.Time `json:"time,omitzero"`
	Level   Level     `json:"level"`
	Message string    `json:"message,omitempty"` // constant text; empty if only the state changed, which needs no log line
	Attrs   []Attr    `json:"attrs,omitempty"`

	Page    *Page   `json:"page,omitempty"`    // the page as it is now, nil if the event is about none
	Removed bool    `json:"removed,omitempty"` // the page is gone
	Server  *Server `json:"server,omitempty"`  // the server as it is now, nil if that did not change
}

// Line is a line of a worker's output, without its line end, or a line about a
// request.
type Line struct {
	Seq     uint64    `json:"seq"` // set by the store
	Time    time.Time `json:"time,omitzero"`
	Page    string    `json:"page,omitempty"` // route; empty for a request that belongs to none
	PID     int       `json:"pid,omitempty"`
	Stderr  bool      `json:"stderr,omitempty"`
	Partial bool      `json:"partial,omitempty"` // it has not ended: the next line of the same process and stream replaces it
	Access  bool      `json:"access,omitempty"`  // it is about a request, and no worker printed it
	Status  int       `json:"status,omitempty"`  // of that request; 0 if the line is about several
	Text    string    `json:"text"`
}

// Stream is where lines come from.
type Stream struct {
	Page   string `json:"page"`
	PID    int    `json:"pid"`
	Stderr bool   `json:"stderr"`
}

// Stream returns where a line of output comes from.
func (l Line) Stream() Stream { return Stream{l.Page, l.PID, l.Stderr} }

// Cursor is how far a reader has come. The zero Cursor stands before everything.
type Cursor struct {
	Epoch string `json:"epoch"` // of the server whose numbers these are; empty for any
	Seq   uint64 `json:"seq"`   // of the newest event or line that was read
}

// Snapshot is everything at one moment. It is immutable: share it freely.
type Snapshot struct {
	Cursor        // of the newest event it includes
	Server Server `json:"server"`
	Pages  []Page `json:"pages"` // by route
}

// Update is what happened since a cursor. Its slices are the reader's.
type Update struct {
	Cursor             // the next one
	Gap      bool      `json:"gap,omitempty"`      // the reader missed events or lines, or the server was restarted: begin again with Snapshot
	Snapshot *Snapshot `json:"snapshot,omitempty"` // with Gap, for the zero Cursor, and if older events have lost their Page
	Events   []Event   `json:"events,omitempty"`
	Lines    []Line    `json:"lines,omitempty"`
	Loads    []Load    `json:"loads,omitempty"` // those that changed
}
