package tui

import (
	"strings"
	"time"

	"tqserver/internal/state"
)

// The screen keeps this much of each log; older lines are in the page's file.
const (
	keptEntries = 10_000  // lines
	keptBytes   = 2 << 20 // of text
)

// entry is a line of a log. Its text is cleaned when it is shown.
type entry struct {
	at    time.Time
	page  string // empty for lines of the server
	text  string
	level state.Level
	ours  bool // it comes from the server, not from a worker
	mark  bool

	from     state.Stream // of a worker's line
	partial  bool         // it has not ended: the next line of its stream replaces it
	replaced bool         // by the next line of its stream

	access bool // it is about a request
	status int  // of the request, or 0
}

// maxDelay is how late a line may come: requests are logged many at a time, and the
// output of workers is read in pieces.
const maxDelay = 50 * time.Millisecond

// ring holds the newest entries. The number of an entry never changes.
type ring struct {
	entries      []entry
	first        int // number of the oldest entry
	next         int // number of the next entry
	bytes        int // of text
	changedFrom  int // number of the first entry that moved since a view was refreshed; beyond the last if none did
	frozenBefore int // entries before this number do not move: the user reads them
}

func (r *ring) add(e entry) {
	for r.bytes += len(e.text); r.next-r.first == keptEntries || r.bytes > keptBytes && r.first < r.next; r.first++ {
		oldest := r.at(r.first)
		r.bytes -= len(oldest.text)
		*oldest = entry{}
	}
	if len(r.entries) == r.next && r.next < keptEntries {
		r.entries = append(r.entries, e)
	} else {
		*r.at(r.next) = e
	}
	r.next++
	n := r.next - 1
	for ; n > max(r.first, r.frozenBefore) && shownBefore(e.at, r.at(n-1).at) && r.at(n-1).at.Sub(e.at) <= maxDelay; n-- {
		*r.at(n), *r.at(n - 1) = *r.at(n - 1), *r.at(n)
	}
	r.changedFrom = min(r.changedFrom, n)
}

// shownBefore reports whether a time is before another as far as it is shown. In one
// millisecond entries stay in the order in which they came: a worker's line is read a
// moment after it was printed, and would stand behind the line of its request.
func shownBefore(a, b time.Time) bool {
	return a.Truncate(time.Millisecond).Before(b.Truncate(time.Millisecond))
}

// removePartial removes the line of a stream that had not ended.
func (r *ring) removePartial(from state.Stream) {
	for n := r.next - 1; n >= r.first; n-- {
		e := r.at(n)
		if !e.partial || e.from != from {
			continue
		}
		r.bytes -= len(e.text)
		*e = entry{at: e.at, replaced: true}
		r.changedFrom = min(r.changedFrom, n)
		if n == r.next-1 {
			r.next--
		}
		return
	}
}

func (r *ring) at(n int) *entry { return &r.entries[n%keptEntries] }

// logStore holds the log of each page, and one of all pages.
type logStore struct {
	pages   map[string]*ring
	all     ring
	partial map[state.Stream]bool // streams whose last line has not ended
}

// of returns the log of a page, or of all pages for the empty route.
func (b *logStore) of(page string) *ring {
	if page == "" {
		return &b.all
	}
	if b.pages[page] == nil {
		b.pages[page] = new(ring)
	}
	return b.pages[page]
}

func (b *logStore) add(e entry) {
	b.all.add(e)
	if e.page != "" {
		b.of(e.page).add(e)
	}
}

// removePartial removes the line that a line of a worker replaces.
func (b *logStore) removePartial(e entry) {
	if b.partial[e.from] {
		b.all.removePartial(e.from)
		b.of(e.page).removePartial(e.from)
		delete(b.partial, e.from)
	}
	if e.partial {
		b.partial[e.from] = true
	}
}

// addUpdate adds the events and lines of an update.
func (b *logStore) addUpdate(u state.Update) {
	for item := range u.Items() {
		switch l := item.Line; {
		case l == nil && item.Event.Message == "":
		case l == nil:
			b.add(eventEntry(*item.Event))
		case l.Access:
			b.add(entry{at: l.Time, page: l.Page, text: l.Text, access: true, status: l.Status, level: levelOfStatus(l.Status)})
		default:
			e := entry{at: l.Time, page: l.Page, text: l.Text, level: levelOf(l.Text), from: l.Stream(), partial: l.Partial}
			b.removePartial(e)
			b.add(e)
		}
	}
}

// eventEntry returns an event on one line.
func eventEntry(e state.Event) entry {
	var first, text strings.Builder
	first.WriteString(e.Message)
	page := ""
	for _, a := range e.Attrs {
		value := a.Text()
		if d, ok := a.Value.(state.Seconds); ok {
			value = took(d)
		}
		switch {
		case a.Key == "page":
			page = value
			continue
		case a.Key == "took": // what people look for
			first.WriteString("  took=" + value)
			continue
		case a.Key == "err" && e.Page != nil && len(e.Page.Build.Problems) > 0: // the Build pane has it
			continue
		}
		value, more, _ := strings.Cut(value, "\n")
		if more != "" {
			value += " …"
		}
		text.WriteString("  " + a.Key + "=" + value)
	}
	return entry{at: e.Time, page: page, text: first.String() + text.String(), level: e.Level, ours: true}
}

// levelOfStatus returns how much the status of a response matters.
func levelOfStatus(status int) state.Level {
	switch {
	case status >= 500:
		return state.LevelError
	case status >= 400:
		return state.LevelWarn
	}
	return state.LevelInfo
}

// levelOf guesses the level of a worker's line. Package log/slog and most others write
// it near the beginning of the line.
func levelOf(text string) state.Level {
	head := text[:min(len(text), 120)]
	for _, l := range levels {
		for _, sign := range l.signs {
			if i := strings.Index(head, sign); i >= 0 && wordAt(head, i, len(sign)) {
				return l.level
			}
		}
	}
	return state.LevelInfo
}

var levels = []struct {
	level state.Level
	signs []string
}{
	{state.LevelError, []string{"ERROR", "FATAL", "PANIC", "panic:", "fatal error:", `"level":"error"`, "level=error"}},
	{state.LevelWarn, []string{"WARN", "WARNING", `"level":"warn"`, "level=warn"}},
	{state.LevelDebug, []string{"DEBUG", "TRACE", `"level":"debug"`, "level=debug"}},
}

func wordAt(s string, i, n int) bool {
	letter := func(c byte) bool { return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }
	return (i == 0 || !letter(s[i-1]) || !letter(s[i])) && (i+n == len(s) || !letter(s[i+n]) || !letter(s[i+n-1]))
}
