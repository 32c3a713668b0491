package state

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	keptEvents    = 4096
	keptPages     = 512     // of events, which are small without
	keptLines     = 10_000  // a page
	keptLineBytes = 2 << 20 // a page
	keptRequests  = 2000    // lines of requests, a page
)

// Store keeps the present state, the latest events, and the newest load and the
// latest lines of every page. Its methods may be called from any goroutine. The zero Store is
// not usable, see [NewStore].
type Store struct {
	mu     sync.Mutex // guards all below; held only to copy, never over I/O
	seq    uint64
	server Server
	pages  map[string]Page
	events []Event // oldest first
	missed uint64  // seq of the newest event or line that is no longer kept
	bare   uint64  // seq of the newest event whose Page is no longer kept
	lines  map[source]*lines
	loads  map[string]measured // by route
	wake   chan struct{}       // closed at the next change; nil if nobody waits
}

// source is what lines are of. A page's requests have a ring of their own, or
// they would push out what the page prints.
type source struct {
	page   string
	access bool
}

// lines is what is kept of one source, oldest first.
type lines struct {
	kept  []Line // the end of room
	room  []Line
	bytes int               // of text
	open  map[Stream]uint64 // seq of lines that have not ended
}

// grow makes room for n more lines: where dropped ones were if these are many,
// so that a flood of lines moves each a few times and allocates nothing.
func (l *lines) grow(n int) {
	if len(l.kept)+n <= cap(l.kept) {
		return
	}
	if dropped := len(l.room) - len(l.kept); dropped < max(n, len(l.kept)/2) {
		l.room = make([]Line, len(l.kept), 2*(len(l.kept)+n))
	}
	moved := copy(l.room, l.kept)
	clear(l.room[moved:])
	l.room = l.room[:moved]
	l.kept = l.room
}

func (l *lines) add(line Line) {
	if !line.Access {
		l.replace(line)
	}
	l.room = append(l.room, line)
	l.kept = l.room[len(l.room)-len(l.kept)-1:]
	l.bytes += len(line.Text)
}

// replace forgets the line in whose place this one is to be shown.
func (l *lines) replace(line Line) {
	from := line.Stream()
	if seq, open := l.open[from]; open {
		i, kept := slices.BinarySearchFunc(l.kept, seq, func(l Line, seq uint64) int { return cmp.Compare(l.Seq, seq) })
		if kept {
			l.bytes -= len(l.kept[i].Text)
			copy(l.kept[1:i+1], l.kept[:i])
			l.kept[0] = Line{}
			l.kept = l.kept[1:]
		}
		delete(l.open, from)
	}
	if line.Partial {
		if l.open == nil {
			l.open = make(map[Stream]uint64)
		}
		l.open[from] = line.Seq
	}
}

// measured is the newest load of a page.
type measured struct {
	load Load
	seq  uint64 // of the Measure that changed it
}

// Beginning is the cursor before the first event: a reader that starts there
// misses nothing, and gets no snapshot while all of it is kept.
const Beginning = 1

// NewStore returns an empty store.
func NewStore(server Server) *Store {
	return &Store{seq: Beginning, server: server, pages: make(map[string]Page), lines: make(map[source]*lines), loads: make(map[string]measured)}
}

// Publish makes an event, and the state that it carries, known. A zero Time
// becomes now.
func (s *Store) Publish(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publishLocked(e)
}

// ChangeServer changes what is known of the server and tells of it with e.
func (s *Store) ChangeServer(e Event, change func(*Server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	server := s.server
	change(&server)
	e.Server = &server
	s.publishLocked(e)
}

// Append keeps lines. They must have one Page, and be all of requests or all
// of output. Requests that are kept no more are no gap: what is said of them
// here is a sample anyway.
func (s *Store) Append(batch []Line) {
	if len(batch) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	from := source{batch[0].Page, batch[0].Access}
	l, most := s.lines[from], keptLines
	if l == nil {
		l = new(lines)
		s.lines[from] = l
	}
	if from.access {
		most = keptRequests
	}
	l.grow(len(batch))
	for _, line := range batch {
		s.seq++
		line.Seq = s.seq
		l.add(line)
	}
	drop := 0
	for len(l.kept)-drop > most || l.bytes > keptLineBytes {
		l.bytes -= len(l.kept[drop].Text)
		if !from.access {
			s.missed = max(s.missed, l.kept[drop].Seq)
		}
		l.kept[drop] = Line{}
		drop++
	}
	l.kept = l.kept[drop:]
	s.wakeLocked()
}

// SetLoads makes loads known. Those that are as they were, and those of pages
// that are none, are nothing new; if all are, no reader is woken. A page has
// nothing to do until it is measured. The slice stays the caller's.
func (s *Store) SetLoads(loads []Load) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq := s.seq + 1
	for _, load := range loads {
		last, known := s.loads[load.Page]
		if !known {
			last.load.Page = load.Page
		}
		if _, ok := s.pages[load.Page]; ok && load != last.load {
			s.loads[load.Page] = measured{load, seq}
			s.seq = seq
		}
	}
	if s.seq == seq {
		s.wakeLocked()
	}
}

// Next waits until something happened after the cursor; see [Source].
func (s *Store) Next(ctx context.Context, after uint64) (Update, error) {
	for {
		s.mu.Lock()
		if after == 0 || s.seq > after {
			u := s.sinceLocked(after)
			s.mu.Unlock()
			return u, nil
		}
		if s.wake == nil {
			s.wake = make(chan struct{})
		}
		wake := s.wake
		s.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			select {
			case <-wake: // what happened before the end is read
			default:
				return Update{Seq: after}, ctx.Err()
			}
		}
	}
}

// Tail returns the last n lines kept of a page; see [Source].
func (s *Store) Tail(_ context.Context, page string, n int) ([]Line, error) {
	return s.Lines(page, n), nil
}

// Lines returns the last n lines kept of a page's output, oldest first.
func (s *Store) Lines(page string, n int) []Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[source{page: page}]
	if l == nil || n <= 0 {
		return nil
	}
	return slices.Clone(l.kept[max(0, len(l.kept)-n):])
}

// Server returns what is known of the server.
func (s *Store) Server() Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server
}

// Page returns the state of one page.
func (s *Store) Page(route string) (Page, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pages[route]
	return p, ok
}

func (s *Store) publishLocked(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	s.seq++
	e.Seq = s.seq
	if e.Server != nil {
		s.server = *e.Server
	}
	if e.Page != nil {
		if e.Removed {
			delete(s.pages, e.Page.Route)
			delete(s.lines, source{e.Page.Route, false})
			delete(s.lines, source{e.Page.Route, true})
			delete(s.loads, e.Page.Route)
		} else {
			s.pages[e.Page.Route] = *e.Page
		}
	}
	if len(s.events) == 2*keptEvents {
		s.missed = max(s.missed, s.events[keptEvents-1].Seq)
		s.events = append(make([]Event, 0, 2*keptEvents), s.events[keptEvents:]...)
	}
	s.events = append(s.events, e)
	if i := len(s.events) - 1 - keptPages; i >= 0 && s.events[i].Page != nil {
		s.events[i].Page, s.events[i].Removed = nil, false
		s.bare = s.events[i].Seq
	}
	s.wakeLocked()
}

func (s *Store) sinceLocked(after uint64) Update {
	u := Update{Seq: s.seq}
	if after == 0 || after < max(s.missed, s.bare) {
		u.Gap = after != 0 && after < s.missed
		u.Snapshot = s.snapshotLocked()
		if after == 0 {
			return u
		}
	}
	i, _ := slices.BinarySearchFunc(s.events, after+1, func(e Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	u.Events = slices.Clone(s.events[i:])
	for _, l := range s.lines {
		i, _ := slices.BinarySearchFunc(l.kept, after+1, func(l Line, seq uint64) int { return cmp.Compare(l.Seq, seq) })
		u.Lines = append(u.Lines, l.kept[i:]...)
	}
	slices.SortFunc(u.Lines, func(a, b Line) int { return cmp.Compare(a.Seq, b.Seq) })
	u.Loads = s.loadsLocked(after)
	return u
}

func (s *Store) snapshotLocked() *Snapshot {
	snap := &Snapshot{Seq: s.seq, Server: s.server}
	for _, route := range slices.Sorted(maps.Keys(s.pages)) {
		snap.Pages = append(snap.Pages, s.pages[route])
	}
	snap.Loads = s.loadsLocked(0)
	return snap
}

// loadsLocked returns the loads that changed after the cursor, by page.
func (s *Store) loadsLocked(after uint64) (loads []Load) {
	for _, m := range s.loads {
		if m.seq > after {
			loads = append(loads, m.load)
		}
	}
	slices.SortFunc(loads, func(a, b Load) int { return cmp.Compare(a.Page, b.Page) })
	return loads
}

func (s *Store) wakeLocked() {
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}
