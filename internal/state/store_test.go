package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAReaderFromTheBeginningSeesEveryEventInOrder(t *testing.T) {
	s := NewStore(Server{})
	for i := range 100 {
		s.Publish(Event{Message: fmt.Sprint(i)})
	}
	u, err := s.Next(t.Context(), Cursor{Seq: Beginning})
	if err != nil || u.Gap || len(u.Events) != 100 {
		t.Fatalf("got %d events, gap %v, %v", len(u.Events), u.Gap, err)
	}
	for i, e := range u.Events {
		if e.Message != fmt.Sprint(i) || e.Time.IsZero() {
			t.Fatalf("event %d is %+v", i, e)
		}
	}
}

func TestNextWaitsForTheNextChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewStore(Server{})
		var got Update
		go func() { got, _ = s.Next(t.Context(), Cursor{Seq: Beginning}) }()
		synctest.Wait()
		if got.Seq != 0 {
			t.Fatal("Next returned although nothing happened")
		}
		s.Append([]Line{{Page: "/", Text: "hello"}})
		synctest.Wait()
		if len(got.Lines) != 1 || got.Lines[0].Text != "hello" {
			t.Fatalf("got %+v", got)
		}
	})
}

func TestNextEndsWithItsContext(t *testing.T) {
	s := NewStore(Server{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx, Cursor{Seq: Beginning}); err != context.Canceled {
		t.Fatalf("got %v", err)
	}
}

func TestWhatHappenedBeforeTheEndIsRead(t *testing.T) {
	for range 1000 {
		s := NewStore(Server{})
		ctx, cancel := context.WithCancel(t.Context())
		var reading sync.WaitGroup
		for range 8 {
			reading.Go(func() { // ends with ctx
				n := 0
				for after := (Cursor{Seq: Beginning}); ; {
					u, err := s.Next(ctx, after)
					if err != nil {
						break
					}
					after = u.Cursor
					n += len(u.Events)
				}
				if n != 20 {
					t.Errorf("%d of 20 events were read", n)
				}
			})
		}
		for range 20 {
			s.Publish(Event{Message: "one of them"})
		}
		cancel()
		reading.Wait()
	}
}

func TestOldEventsKeepTheirMessagesAndTheSnapshotHasTheirPages(t *testing.T) {
	s := NewStore(Server{})
	s.Publish(Event{Message: "old", Page: &Page{Route: "/a", Restarts: 7}})
	s.Publish(Event{Message: "gone", Page: &Page{Route: "/b"}, Removed: true})
	for range keptPages + 10 {
		s.Publish(Event{Message: "new", Page: &Page{Route: "/c"}})
	}
	u, _ := s.Next(t.Context(), Cursor{Seq: Beginning})
	if u.Gap || len(u.Events) != keptPages+12 || u.Events[0].Message != "old" {
		t.Fatalf("gap %v, %d events", u.Gap, len(u.Events))
	}
	if u.Snapshot == nil || len(u.Snapshot.Pages) != 2 || u.Snapshot.Pages[0].Restarts != 7 {
		t.Errorf("the snapshot is %+v", u.Snapshot)
	}
	with := 0
	for _, e := range u.Events {
		if e.Page != nil {
			with++
		}
	}
	if with != keptPages {
		t.Errorf("%d events have their page", with)
	}
	if u, _ := s.Next(t.Context(), Cursor{Seq: u.Seq - keptPages}); u.Snapshot != nil || len(u.Events) != keptPages {
		t.Error("a reader that is not behind gets a snapshot")
	}
}

func TestAReaderThatFellBehindIsToldSo(t *testing.T) {
	s := NewStore(Server{})
	page := Page{Route: "/a"}
	for i := range 3 * keptEvents {
		page.Restarts = i
		s.Publish(Event{Page: &page})
	}
	u, _ := s.Next(t.Context(), Cursor{Seq: Beginning})
	if !u.Gap || u.Snapshot == nil {
		t.Fatalf("gap %v, snapshot %v", u.Gap, u.Snapshot)
	}
	if got := u.Snapshot.Pages[0].Restarts; got != 3*keptEvents-1 {
		t.Errorf("the snapshot is of event %d", got)
	}
	if len(u.Events) < keptEvents {
		t.Errorf("only %d events are kept", len(u.Events))
	}
	if u, _ := s.Next(t.Context(), Cursor{Seq: u.Events[0].Seq}); u.Gap {
		t.Error("a reader whose next event is kept gets a gap")
	}
}

func TestLinesAreBoundedByNumberAndBySize(t *testing.T) {
	s := NewStore(Server{})
	for range 2 * keptLines {
		s.Append([]Line{{Page: "/many", Text: "x"}})
	}
	for range 200 {
		s.Append([]Line{{Page: "/long", Text: strings.Repeat("y", 64<<10)}})
	}
	many, _ := s.Tail(t.Context(), "/many", 1<<30)
	long, _ := s.Tail(t.Context(), "/long", 1<<30)
	if len(many) != keptLines || len(long) != keptLineBytes>>16 {
		t.Fatalf("%d short lines and %d long ones are kept", len(many), len(long))
	}
	if u, _ := s.Next(t.Context(), Cursor{Seq: Beginning}); !u.Gap {
		t.Error("lost lines without a gap")
	}
}

func TestRequestsDoNotPushOutWhatAPagePrints(t *testing.T) {
	s := NewStore(Server{})
	s.Append([]Line{{Page: "/a", Text: "printed"}})
	for range 2 * keptLines {
		s.Append([]Line{{Page: "/a", Access: true, Status: 200}})
	}
	if got := s.Lines("/a", 10); len(got) != 1 || got[0].Text != "printed" {
		t.Errorf("of the output is kept: %+v", got)
	}
	u, _ := s.Next(t.Context(), Cursor{Seq: Beginning})
	if u.Gap || len(u.Lines) != 1+keptRequests || u.Lines[0].Text != "printed" {
		t.Errorf("gap %v, %d lines", u.Gap, len(u.Lines))
	}
	s.Publish(Event{Page: &Page{Route: "/a"}, Removed: true})
	if u, _ := s.Next(t.Context(), Cursor{Seq: Beginning}); len(u.Lines) > 0 {
		t.Errorf("%d lines are left of a removed page", len(u.Lines))
	}
}

func TestTailReturnsTheLastLines(t *testing.T) {
	s := NewStore(Server{})
	s.Append([]Line{{Page: "/a", Text: "1"}, {Page: "/a", Text: "2"}, {Page: "/a", Text: "3"}})
	s.Append([]Line{{Page: "/b", Text: "x"}})
	got, _ := s.Tail(t.Context(), "/a", 2)
	if len(got) != 2 || got[0].Text != "2" || got[1].Text != "3" {
		t.Fatalf("got %+v", got)
	}
	if got, _ := s.Tail(t.Context(), "/none", 2); got != nil {
		t.Fatalf("got %+v of a page that is none", got)
	}
}

func TestARemovedPageLeavesTheSnapshot(t *testing.T) {
	s := NewStore(Server{})
	s.Publish(Event{Page: &Page{Route: "/b"}})
	s.Publish(Event{Page: &Page{Route: "/a"}})
	s.Publish(Event{Page: &Page{Route: "/b"}, Removed: true})
	u, _ := s.Next(t.Context(), Cursor{})
	if len(u.Snapshot.Pages) != 1 || u.Snapshot.Pages[0].Route != "/a" || u.Gap {
		t.Fatalf("got %+v", u)
	}
}

// withPages returns a store that knows pages, and the cursor behind them.
func withPages(routes ...string) (*Store, Cursor) {
	s := NewStore(Server{})
	for _, route := range routes {
		s.Publish(Event{Page: &Page{Route: route}})
	}
	u, _ := s.Next(context.Background(), Cursor{})
	return s, u.Cursor
}

func loadsOf(s *Snapshot) (loads []Load) {
	for _, p := range s.Pages {
		if p.Load != nil {
			loads = append(loads, *p.Load)
		}
	}
	return loads
}

func TestLoadsThatChangedAreToldByPage(t *testing.T) {
	s, after := withPages("/a", "/b", "/c")
	for _, step := range []struct{ measured, told []Load }{
		{
			[]Load{{Page: "/c", Requests: 1}, {Page: "/a", Requests: 1}, {Page: "/b"}},
			[]Load{{Page: "/a", Requests: 1}, {Page: "/c", Requests: 1}}, // the other has nothing to do
		},
		{
			[]Load{{Page: "/c", Requests: 2}, {Page: "/a", Requests: 1}},
			[]Load{{Page: "/c", Requests: 2}},
		},
		{
			[]Load{{Page: "/b", Rate: 0.5}, {Page: "/none", Requests: 7}},
			[]Load{{Page: "/b", Rate: 0.5}},
		},
		{
			[]Load{{Page: "/b"}},
			[]Load{{Page: "/b"}}, // not any more
		},
	} {
		s.SetLoads(step.measured)
		u, err := s.Next(t.Context(), after)
		if err != nil || u.Seq != after.Seq+1 || u.Gap || len(u.Events) > 0 || !slices.Equal(u.Loads, step.told) {
			t.Errorf("%+v gives %+v, %v; want %+v", step.measured, u, err, step.told)
		}
		after = u.Cursor
	}
	u, _ := s.Next(t.Context(), Cursor{})
	if got, want := loadsOf(u.Snapshot), []Load{{Page: "/a", Requests: 1}, {Page: "/b"}, {Page: "/c", Requests: 2}}; !slices.Equal(got, want) {
		t.Errorf("the snapshot has %+v, want %+v", got, want)
	}
}

func TestALoadThatIsAsItWasWakesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, after := withPages("/a", "/b")
		loads := []Load{{Page: "/a", Requests: 1, Rate: 0.5}, {Page: "/b"}}
		s.SetLoads(loads)
		u, _ := s.Next(t.Context(), after)
		after = u.Cursor
		woken := false
		go func() { _, err := s.Next(t.Context(), after); woken = err == nil }()
		synctest.Wait()
		s.SetLoads(loads)
		s.SetLoads(nil)
		s.SetLoads([]Load{{Page: "/none", Requests: 1}})
		synctest.Wait()
		if u, _ := s.Next(t.Context(), Cursor{}); woken || u.Cursor != after {
			t.Errorf("woken: %v, at %d, want %d", woken, u.Seq, after.Seq)
		}
		loads[1].InFlight = 1
		s.SetLoads(loads)
		synctest.Wait()
		if !woken {
			t.Error("a change wakes nobody")
		}
	})
}

func TestAFloodOfLinesAllocatesNothing(t *testing.T) {
	s, _ := withPages("/a")
	batch := make([]Line, 100)
	for i := range batch {
		batch[i] = Line{Page: "/a", Text: "text"}
	}
	for range 4 * keptLines / len(batch) {
		s.Append(batch)
	}
	if n := testing.AllocsPerRun(10*keptLines/len(batch), func() { s.Append(batch) }); n > 0 {
		t.Errorf("%v allocations a batch", n)
	}
	lines := s.Lines("/a", keptLines)
	if len(lines) != keptLines {
		t.Fatalf("%d lines are kept", len(lines))
	}
	for i, l := range lines {
		if l.Text != "text" || l.Seq != lines[0].Seq+uint64(i) {
			t.Fatalf("line %d is %+v", i, l)
		}
	}
}

func TestTheLoadOfARemovedPageGoesWithIt(t *testing.T) {
	s, after := withPages("/a")
	s.SetLoads([]Load{{Page: "/a", Requests: 1}})
	s.Publish(Event{Page: &Page{Route: "/a"}, Removed: true})
	s.SetLoads([]Load{{Page: "/a", Requests: 2}}) // of a moment ago
	s.Publish(Event{Page: &Page{Route: "/a"}})
	if u, _ := s.Next(t.Context(), after); len(u.Loads) > 0 {
		t.Errorf("told: %+v", u.Loads)
	}
	if u, _ := s.Next(t.Context(), Cursor{}); len(loadsOf(u.Snapshot)) > 0 {
		t.Errorf("kept: %+v", loadsOf(u.Snapshot))
	}
}

func TestManyWritersAndReadersAgree(t *testing.T) {
	s := NewStore(Server{})
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				s.Publish(Event{})
				s.Append([]Line{{Page: fmt.Sprint(w)}})
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			seen, lastEvent := 0, uint64(0)
			for after := (Cursor{Seq: Beginning}); seen < 2*writers*each; {
				u, err := s.Next(t.Context(), after)
				if err != nil || u.Gap {
					t.Errorf("gap %v, %v", u.Gap, err)
					return
				}
				for _, e := range u.Events {
					if e.Seq <= lastEvent {
						t.Errorf("event %d after %d", e.Seq, lastEvent)
					}
					lastEvent = e.Seq
				}
				seen += len(u.Events) + len(u.Lines)
				after = u.Cursor
			}
		})
	}
	wg.Wait()
}

func TestAProblemReadsAsTheCompilerWritesIt(t *testing.T) {
	for want, p := range map[string]Problem{
		"a.go:3:7: undefined: x": {File: "a.go", Line: 3, Column: 7, Message: "undefined: x"},
		"a.go:3: syntax error":   {File: "a.go", Line: 3, Message: "syntax error"},
		"go.mod: bad":            {File: "go.mod", Message: "bad"},
		"no go command":          {Message: "no go command"},
	} {
		if p.String() != want {
			t.Errorf("got %q, want %q", p, want)
		}
	}
}

func BenchmarkSetLoadsThatDidNotChange(b *testing.B) {
	s := NewStore(Server{})
	var loads []Load
	for i := range 50 {
		loads = append(loads, Load{Page: fmt.Sprint("/", i), Requests: 1})
		s.Publish(Event{Page: &Page{Route: loads[i].Page}})
	}
	for b.Loop() {
		s.SetLoads(loads)
	}
}

func BenchmarkPublish(b *testing.B) {
	b.ReportAllocs()
	s := NewStore(Server{})
	page := Page{Route: "/"}
	for b.Loop() {
		s.Publish(Event{Page: &page})
	}
}

func BenchmarkAppend(b *testing.B) {
	b.ReportAllocs()
	s := NewStore(Server{})
	batch := make([]Line, 100)
	for i := range batch {
		batch[i] = Line{Page: "/", Text: "a line of output"}
	}
	for b.Loop() {
		s.Append(batch)
	}
}

func BenchmarkNext(b *testing.B) {
	b.ReportAllocs()
	s := NewStore(Server{})
	page := Page{Route: "/"}
	batch := make([]Line, 100)
	for i := range batch {
		batch[i] = Line{Page: "/", Text: "a line of output"}
	}
	u, _ := s.Next(b.Context(), Cursor{})
	for b.Loop() {
		s.Publish(Event{Page: &page})
		s.Append(batch)
		u, _ = s.Next(b.Context(), u.Cursor)
	}
}

func TestALineTakesThePlaceOfTheOneThatHadNotEnded(t *testing.T) {
	s := NewStore(Server{})
	from := func(pid int, text string, open bool) {
		s.Append([]Line{{Page: "/", PID: pid, Text: text, Partial: open}})
	}
	texts := func(lines []Line) (all []string) {
		for _, l := range lines {
			all = append(all, l.Text)
		}
		return all
	}
	check := func(want ...string) {
		t.Helper()
		u, err := s.Next(t.Context(), Cursor{Seq: Beginning})
		if err != nil || u.Gap || !slices.Equal(texts(u.Lines), want) || !slices.Equal(texts(s.Lines("/", 100)), want) {
			t.Fatalf("kept %q and %q, gap %v, want %q", texts(u.Lines), texts(s.Lines("/", 100)), u.Gap, want)
		}
	}
	from(1, "a", false)
	from(1, "half", true)
	check("a", "half")
	before, _ := s.Next(t.Context(), Cursor{Seq: Beginning})
	from(2, "another", true)
	from(2, "another's end", false)
	from(1, "half and more", true)
	check("a", "another's end", "half and more")
	s.Append([]Line{{Page: "/", PID: 1, Stderr: true, Text: "stderr"}, {Page: "/", PID: 1, Stderr: true, Text: "too"}})
	from(1, "the whole", false)
	from(1, "next", false)
	check("a", "another's end", "stderr", "too", "the whole", "next")
	if u, _ := s.Next(t.Context(), before.Cursor); u.Gap || !slices.Equal(texts(u.Lines), []string{"another's end", "stderr", "too", "the whole", "next"}) {
		t.Errorf("who saw what had not ended gets %q, gap %v", texts(u.Lines), u.Gap)
	}
	from(3, "open for long", true)
	for range keptLines + 10 {
		from(1, "x", false)
	}
	from(3, "ended", false)
	if kept := texts(s.Lines("/", 2*keptLines)); len(kept) != keptLines || kept[0] != "x" || kept[keptLines-1] != "ended" {
		t.Errorf("%d lines are kept, from %q to %q", len(kept), kept[0], kept[len(kept)-1])
	}
	if l := s.rings[ringKey{page: "/"}]; len(l.partial) > 0 || l.bytes != keptLines-1+len("ended") {
		t.Errorf("%d bytes, open %v", l.bytes, l.partial)
	}
}

func TestAReaderOfARestartedServerBeginsAgain(t *testing.T) {
	before := NewStore(Server{Started: time.UnixMilli(1), PID: 1})
	for range 10 {
		before.Publish(Event{Page: &Page{Route: "/old"}})
	}
	read, _ := before.Next(t.Context(), Cursor{})
	after := NewStore(Server{Started: time.UnixMilli(2), PID: 2})
	after.Publish(Event{Message: "one", Page: &Page{Route: "/new"}})
	u, err := after.Next(t.Context(), read.Cursor)
	if err != nil || !u.Gap || u.Snapshot == nil || u.Snapshot.Server.PID != 2 || len(u.Events) != 1 || u.Epoch != after.Epoch() {
		t.Fatalf("%+v, %v", u, err)
	}
	var seen Mirror
	seen.Apply(read)
	seen.Apply(u)
	if _, old := seen.Pages["/old"]; old || len(seen.Pages) != 1 {
		t.Errorf("the pages are %v", seen.Pages)
	}
	if u, err := after.Next(t.Context(), Cursor{Seq: 1 << 40}); err != nil || !u.Gap {
		t.Errorf("a number that is not yet: %+v, %v", u, err)
	}
}

func TestItemsComeInTheOrderInWhichTheyHappened(t *testing.T) {
	u := Update{Events: []Event{{Seq: 2}, {Seq: 5}, {Seq: 6}}, Lines: []Line{{Seq: 1}, {Seq: 3}, {Seq: 4}, {Seq: 7}}}
	var got []uint64
	for item := range u.Items() {
		switch {
		case item.Event != nil:
			got = append(got, item.Event.Seq)
		default:
			got = append(got, item.Line.Seq)
		}
	}
	if !slices.Equal(got, []uint64{1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("%d", got)
	}
	for item := range u.Items() {
		if item.Line == nil || item.Line.Seq != 1 {
			t.Errorf("first comes %+v", item)
		}
		break
	}
}

func TestFollowEndsWithTheErrorOfItsReader(t *testing.T) {
	s := NewStore(Server{})
	enough := errors.New("enough")
	reads := 0
	err := Follow(t.Context(), s.Next, Cursor{}, func(u Update) error {
		if reads++; reads == 3 {
			return enough
		}
		s.Publish(Event{})
		return nil
	})
	if err != enough || reads != 3 {
		t.Errorf("%v after %d", err, reads)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Follow(ctx, s.Next, Cursor{Seq: s.seq}, func(Update) error { return nil }); err != context.Canceled {
		t.Errorf("%v", err)
	}
}
