package sinks

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"tqserver/internal/state"
)

// Console writes events and the output of workers as plain lines, until the context
// ends or a write fails. Requests are left out: a service's journal would be full
// of them.
func Console(ctx context.Context, store *state.Store, w io.Writer) {
	partial := make(map[state.Stream]string) // lines written before they ended
	state.Follow(ctx, store.Next, state.Cursor{Seq: state.Beginning}, func(u state.Update) error {
		var text strings.Builder
		if u.Gap {
			fmt.Fprintln(&text, "… some lines are missing here: they came faster than they could be written; the log files have all of them")
		}
		for item := range u.Items() {
			switch l := item.Line; {
			case item.Event != nil:
				writeEvent(&text, *item.Event)
			case !l.Access && isNew(partial, *l):
				fmt.Fprintf(&text, "%s %-12s | %s\n", clock(l.Time), l.Page, state.Printable(l.Text))
			}
		}
		if text.Len() == 0 {
			return nil
		}
		_, err := io.WriteString(w, text.String())
		return err
	})
}

// isNew reports whether a line was not written before, when it had not ended.
func isNew(partial map[state.Stream]string, l state.Line) bool {
	before, written := partial[l.Stream()]
	if l.Partial {
		partial[l.Stream()] = l.Text
	} else {
		delete(partial, l.Stream())
	}
	return !written || before != l.Text
}

// writeEvent writes an event as a line, followed by attributes of several lines.
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

// short returns a duration with three digits.
func short(d time.Duration) string {
	for unit := time.Microsecond; ; unit *= 10 {
		if d < 1000*unit || unit >= time.Second {
			return d.Round(unit).String()
		}
	}
}
