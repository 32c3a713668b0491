package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/logfile"
	"tqserver/internal/state"
)

// logSink writes events to the server's log file.
type logSink struct {
	store *state.Store

	mu       sync.Mutex // guards all below
	settings config.Server
	file     *logfile.File
	handler  slog.Handler
	at       time.Time // of the event that is written
}

// eventFile writes lines of an event to the file of its day.
type eventFile struct{ sink *logSink }

func (f eventFile) Write(p []byte) (int, error) { return f.sink.file.WriteLines(f.sink.at, p) }

func newLogSink(store *state.Store, cfg config.Server) *logSink {
	s := &logSink{store: store}
	s.configure(cfg)
	return s
}

// configure changes the file and its format.
func (s *logSink) configure(cfg config.Server) {
	s.mu.Lock()
	old := s.file
	if old != nil && s.settings.LogFile == cfg.LogFile && s.settings.LogFormat == cfg.LogFormat {
		s.mu.Unlock()
		return
	}
	s.settings = cfg
	s.file = logfile.Open(logfile.Template(cfg.LogFile), func(lost uint64, err error) {
		s.store.Publish(state.Event{Level: state.LevelWarn, Message: "log lines were lost", Attrs: []state.Attr{state.Int("lines", lost), state.String("err", err.Error())}})
	})
	if cfg.LogFormat == "json" {
		s.handler = slog.NewJSONHandler(eventFile{s}, nil)
	} else {
		s.handler = slog.NewTextHandler(eventFile{s}, nil)
	}
	s.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// run writes until the context ends and all that happened before is written.
func (s *logSink) run(ctx context.Context) {
	for after := uint64(state.Beginning); ; {
		u, err := s.store.Next(ctx, after)
		if err != nil {
			return
		}
		after = u.Seq
		s.mu.Lock()
		for _, e := range u.Events {
			if e.Message != "" {
				s.at = e.Time
				s.handler.Handle(ctx, record(e))
			}
		}
		s.mu.Unlock()
	}
}

func (s *logSink) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.Close()
}

// slogLevels are the levels of package slog.
var slogLevels = map[state.Level]slog.Level{
	state.LevelDebug: slog.LevelDebug, state.LevelInfo: slog.LevelInfo, state.LevelWarn: slog.LevelWarn, state.LevelError: slog.LevelError,
}

// record returns an event as package slog has it.
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

// runConsole writes events and workers' output as plain lines, until the
// context ends or nobody takes them any more.
func runConsole(ctx context.Context, store *state.Store, w io.Writer) {
	open := make(map[state.Stream]string) // lines that were shown and had not ended
	for after := uint64(state.Beginning); ; {
		u, err := store.Next(ctx, after)
		if err != nil {
			return
		}
		after = u.Seq
		var text strings.Builder
		if u.Gap {
			fmt.Fprintln(&text, "… some lines are missing here: they came faster than they could be written; the log files have all of them")
		}
		events, lines := u.Events, u.Lines
		for len(events) > 0 || len(lines) > 0 {
			if len(lines) == 0 || len(events) > 0 && events[0].Seq < lines[0].Seq {
				writeEvent(&text, events[0])
				events = events[1:]
			} else {
				l := lines[0]
				if !l.Access && isNews(open, l) { // a service's journal would drown in requests
					fmt.Fprintf(&text, "%s %-12s | %s\n", clock(l.Time), l.Page, state.Printable(l.Text))
				}
				lines = lines[1:]
			}
		}
		if text.Len() == 0 {
			continue
		}
		if _, err := io.WriteString(w, text.String()); err != nil {
			return
		}
	}
}

// isNews reports whether a line is to be shown: when it ends it may be what it
// was before.
func isNews(open map[state.Stream]string, l state.Line) bool {
	before, shown := open[l.Stream()]
	if l.Partial {
		open[l.Stream()] = l.Text
	} else {
		delete(open, l.Stream())
	}
	return !shown || before != l.Text
}

// writeEvent writes an event as a line, and what takes several lines below it.
func writeEvent(w *strings.Builder, e state.Event) {
	if e.Message == "" {
		return
	}
	who, rest, below := "tqserver", "", ""
	for _, a := range e.Attrs {
		value := a.Text()
		if d, ok := a.Value.(state.Seconds); ok {
			value = short(time.Duration(d))
		}
		switch {
		case a.Key == "page":
			who = value
		case a.Key == "err", a.Key == "output", strings.Contains(value, "\n"):
			below += "\n" + value
		default:
			rest += fmt.Sprintf("  %s=%s", a.Key, value)
		}
	}
	level := ""
	if e.Level >= state.LevelWarn {
		level = e.Level.String() + " "
	}
	fmt.Fprintf(w, "%s %-12s %s%s%s\n", clock(e.Time), state.Printable(who), level, e.Message, state.Printable(rest))
	for line := range strings.Lines(strings.TrimPrefix(below, "\n")) {
		fmt.Fprintf(w, "    %s\n", state.Printable(strings.TrimRight(line, "\n")))
	}
}

func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }

// short is a duration with three digits, which is as much as it tells.
func short(d time.Duration) string {
	for unit := time.Microsecond; ; unit *= 10 {
		if d < 1000*unit || unit >= time.Second {
			return d.Round(unit).String()
		}
	}
}
