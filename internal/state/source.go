package state

import (
	"context"
	"iter"
)

// Source is how a front end sees and steers a server, near or far.
type Source interface {
	// Next waits until something happened after the cursor and returns it. The
	// zero Cursor gets a snapshot at once, and so does one of another server
	// than this. The error is the context's.
	Next(ctx context.Context, after Cursor) (Update, error)
	// Tail returns the last n lines kept of a page's output, oldest first.
	Tail(ctx context.Context, page string, n int) ([]Line, error)
	// Do carries out a command, and returns when it was accepted, or why it
	// cannot be.
	Do(ctx context.Context, cmd Command) error
}

// Follow calls each with what happens after a cursor until it returns an error, or
// next does, which is the Next of a [Source]. It returns that error.
func Follow(ctx context.Context, next func(context.Context, Cursor) (Update, error), after Cursor, each func(Update) error) error {
	for {
		u, err := next(ctx, after)
		if err != nil {
			return err
		}
		if err := each(u); err != nil {
			return err
		}
		after = u.Cursor
	}
}

// Item is an event or a line; the other one is nil.
type Item struct {
	Event *Event
	Line  *Line
}

// Items returns the events and the lines of an update in the order in which they
// happened.
func (u Update) Items() iter.Seq[Item] {
	return func(yield func(Item) bool) {
		events, lines := u.Events, u.Lines
		for len(events) > 0 || len(lines) > 0 {
			var item Item
			if len(lines) == 0 || len(events) > 0 && events[0].Seq < lines[0].Seq {
				item.Event, events = &events[0], events[1:]
			} else {
				item.Line, lines = &lines[0], lines[1:]
			}
			if !yield(item) {
				return
			}
		}
	}
}

// Mirror is the present state as a reader knows it from the updates it has read.
// The zero Mirror knows nothing.
type Mirror struct {
	Cursor Cursor
	Server Server
	Pages  map[string]Page // by route
	Loads  map[string]Load // by route
}

// Apply adds what an update says.
func (m *Mirror) Apply(u Update) {
	m.Cursor = u.Cursor
	if u.Snapshot != nil || m.Pages == nil {
		m.Pages, m.Loads = make(map[string]Page), make(map[string]Load)
	}
	if s := u.Snapshot; s != nil {
		m.Server = s.Server
		for _, p := range s.Pages {
			if p.Load != nil {
				m.Loads[p.Route] = *p.Load
				p.Load = nil
			}
			m.Pages[p.Route] = p
		}
	}
	for _, e := range u.Events {
		if s := u.Snapshot; s != nil && e.Seq <= s.Seq {
			continue // the snapshot includes it
		}
		if e.Server != nil {
			m.Server = *e.Server
		}
		switch {
		case e.Page == nil:
		case e.Removed:
			delete(m.Pages, e.Page.Route)
			delete(m.Loads, e.Page.Route)
		default:
			m.Pages[e.Page.Route] = *e.Page
		}
	}
	for _, l := range u.Loads {
		m.Loads[l.Page] = l
	}
}
