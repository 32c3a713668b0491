package sinks

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"tqserver/internal/logfile"
	"tqserver/internal/state"
)

// EventLog writes events to the server's log file.
type EventLog struct {
	store *state.Store
	warn  func(lost uint64, err error)

	mu      sync.Mutex // guards all below
	name    logfile.Template
	format  string
	file    *logfile.File
	handler slog.Handler
	day     time.Time // of the event that is being written
}

// NewEventLog returns an EventLog that writes to a file, in the format "text" or
// "json". It writes nothing before Run. It calls warn as [logfile.Open] does.
func NewEventLog(store *state.Store, name logfile.Template, format string, warn func(lost uint64, err error)) *EventLog {
	l := &EventLog{store: store, warn: warn}
	l.Configure(name, format)
	return l
}

// Configure changes the file and its format.
func (l *EventLog) Configure(name logfile.Template, format string) {
	l.mu.Lock()
	old := l.file
	if old != nil && l.name == name && l.format == format {
		l.mu.Unlock()
		return
	}
	l.name, l.format = name, format
	l.file = logfile.Open(name, l.warn)
	if format == "json" {
		l.handler = slog.NewJSONHandler(dayWriter{l}, nil)
	} else {
		l.handler = slog.NewTextHandler(dayWriter{l}, nil)
	}
	l.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// Run writes events until the context ends and all events before that are written.
func (l *EventLog) Run(ctx context.Context) {
	state.Follow(ctx, l.store.Next, state.Cursor{Seq: state.Beginning}, func(u state.Update) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, e := range u.Events {
			if e.Message != "" {
				l.day = e.Time
				l.handler.Handle(ctx, record(e))
			}
		}
		return nil
	})
}

// Close closes the file. Run must have returned.
func (l *EventLog) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file.Close()
}

// dayWriter writes the lines of an event to the file of its day.
type dayWriter struct{ log *EventLog }

func (w dayWriter) Write(p []byte) (int, error) { return w.log.file.WriteLines(w.log.day, p) }

// slogLevels are the levels of package slog.
var slogLevels = map[state.Level]slog.Level{
	state.LevelDebug: slog.LevelDebug, state.LevelInfo: slog.LevelInfo, state.LevelWarn: slog.LevelWarn, state.LevelError: slog.LevelError,
}

// record returns an event as a record of package slog.
func record(e state.Event) slog.Record {
	r := slog.NewRecord(e.Time, slogLevels[e.Level], e.Message, 0)
	for _, a := range e.Attrs {
		if d, ok := a.Value.(state.Seconds); ok {
			r.Add(a.Key, time.Duration(d))
		} else {
			r.Add(a.Key, a.Value)
		}
	}
	return r
}
