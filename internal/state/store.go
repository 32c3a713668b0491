package state

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	keptEvents    = 4096
	keptPages     = 512     // events with their Page, which is most of an event
	keptLines     = 10_000  // of output, a page
	keptLineBytes = 2 << 20 // a page
	keptRequests  = 2000    // lines of requests, a page
)

// Store keeps the present state, the latest events, and the newest load and the
// latest lines of every page. It is the [Source] of a server in the same process,
// but for commands. Its methods may be called from any goroutine. Use [NewStore]
// to make one.
type Store struct {
	epoch string

	mu     sync.Mutex // guards all below; held only to copy, never over I/O
	seq    uint64
	server Server
	pages  map[string]Page
	events []Event // oldest first
	missed uint64  // seq of the newest event or line that is no longer kept
	bare   uint64  // seq of the newest event whose Page is no longer kept
	rings  map[ringKey]*ring
	loads  map[string]numberedLoad // by route
	wake   chan struct{}           // closed at the next change; nil if nobody waits
}

// numberedLoad is the newest load of a page.
type numberedLoad struct {
	load Load
	seq  uint64 // of the call that changed it
}

// Beginning is the Seq of the cursor before the first event: a reader that starts
// there misses nothing, and gets no snapshot while all of it is kept.
const Beginning = 1

// NewStore returns an empty store. Its epoch is the time at which the server was
// started.
func NewStore(server Server) *Store {
	return &Store{
		epoch: strconv.FormatInt(server.Started.UnixNano(), 36), seq: Beginning, server: server,
		pages: make(map[string]Page), rings: make(map[ringKey]*ring), loads: make(map[string]numberedLoad),
	}
}

// Epoch returns the name of this run of the server.
func (s *Store) Epoch() string { return s.epoch }

// Publish adds an event and sets the state that it carries. A zero Time becomes
// now.
func (s *Store) Publish(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publishLocked(e)
}

// ChangeServer changes the state of the server and publishes it with e.
func (s *Store) ChangeServer(e Event, change func(*Server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	server := s.server
	change(&server)
	e.Server = &server
	s.publishLocked(e)
}

// Append adds lines. They must have one Page, and be all of requests or all of
// output. Requests that are kept no more are no gap: those that come here are a
// sample anyway.
func (s *Store) Append(batch []Line) {
	if len(batch) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := ringKey{batch[0].Page, batch[0].Access}
	l := s.rings[key]
	if l == nil {
		l = new(ring)
		s.rings[key] = l
	}
	l.grow(len(batch))
	for _, line := range batch {
		s.seq++
		line.Seq = s.seq
		l.add(line)
	}
	if key.access {
		l.trim(keptRequests)
	} else {
		s.missed = max(s.missed, l.trim(keptLines))
	}
	s.wakeLocked()
}

// SetLoads sets the loads of pages. Those that did not change and those of unknown
// pages are ignored; if no other is left, no reader is woken. A page that was never
// measured has nothing to do. The slice stays the caller's.
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
			s.loads[load.Page] = numberedLoad{load, seq}
			s.seq = seq
		}
	}
	if s.seq == seq {
		s.wakeLocked()
	}
}

// Next waits until something happened after the cursor; see [Source].
func (s *Store) Next(ctx context.Context, after Cursor) (Update, error) {
	for {
		s.mu.Lock()
		other := after.Epoch != "" && after.Epoch != s.epoch || after.Seq > s.seq
		if other || after.Seq == 0 || s.seq > after.Seq {
			u := s.updateLocked(after.Seq, other)
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
				return Update{Cursor: after}, ctx.Err()
			}
		}
	}
}

// Tail returns the last n lines kept of a page's output; see [Source].
func (s *Store) Tail(_ context.Context, page string, n int) ([]Line, error) {
	return s.Lines(page, n), nil
}

// Lines returns the last n lines kept of a page's output, oldest first.
func (s *Store) Lines(page string, n int) []Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.rings[ringKey{page: page}]
	if l == nil || n <= 0 {
		return nil
	}
	return slices.Clone(l.kept[max(0, len(l.kept)-n):])
}

// Server returns the state of the server.
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
			delete(s.rings, ringKey{e.Page.Route, false})
			delete(s.rings, ringKey{e.Page.Route, true})
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

// updateLocked returns what happened after a number. A reader that comes from
// another server, whose numbers these are not, gets all that is kept.
func (s *Store) updateLocked(after uint64, other bool) Update {
	u := Update{Cursor: Cursor{s.epoch, s.seq}, Gap: other}
	if other {
		after = Beginning
	}
	if other || after < max(s.missed, s.bare, Beginning) {
		u.Gap = other || after != 0 && after < s.missed
		u.Snapshot = s.snapshotLocked()
		if after == 0 {
			return u
		}
	}
	i, _ := slices.BinarySearchFunc(s.events, after+1, func(e Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	u.Events = slices.Clone(s.events[i:])
	for _, l := range s.rings {
		u.Lines = append(u.Lines, l.since(after)...)
	}
	slices.SortFunc(u.Lines, func(a, b Line) int { return cmp.Compare(a.Seq, b.Seq) })
	u.Loads = s.loadsLocked(after)
	return u
}

func (s *Store) snapshotLocked() *Snapshot {
	snap := &Snapshot{Cursor: Cursor{s.epoch, s.seq}, Server: s.server}
	for _, route := range slices.Sorted(maps.Keys(s.pages)) {
		p := s.pages[route]
		if l, ok := s.loads[route]; ok {
			p.Load = &l.load
		}
		snap.Pages = append(snap.Pages, p)
	}
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
