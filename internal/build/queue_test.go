package build

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheNextJobsAreThoseThatMayStart(t *testing.T) {
	calm := func(key string) candidate { return candidate{key: key, ready: true, first: true} }
	hurried := func(key string) candidate { return candidate{key: key, ready: true, first: true, urgent: true} }
	for name, c := range map[string]struct {
		waiting []candidate
		running int
		batch   bool
		want    []int
	}{
		"nobody":                            {nil, 0, false, nil},
		"all that agree":                    {[]candidate{calm("a"), calm("b"), calm("a")}, 0, false, []int{0, 2}},
		"one that agrees with nobody":       {[]candidate{calm(""), calm(""), calm("a")}, 0, false, []int{0}},
		"nobody while some still look":      {[]candidate{{key: "a", first: true}}, 0, false, nil},
		"also who still would wait":         {[]candidate{{key: "a", first: true}, hurried("a")}, 0, false, []int{1, 0}},
		"who people wait for, first":        {[]candidate{calm("a"), calm("b"), hurried("b")}, 0, false, []int{2, 1}},
		"nobody if enough commands run":     {[]candidate{calm("a"), hurried("a")}, 2, false, nil},
		"not one more beside a batch":       {[]candidate{calm("a")}, 2, true, nil},
		"one more that people wait for":     {[]candidate{calm("a"), hurried("a")}, 2, true, []int{1, 0}},
		"one more that was saved":           {[]candidate{calm("a"), {key: "a", ready: true}}, 2, true, []int{1, 0}},
		"but not two":                       {[]candidate{hurried("a")}, 3, true, nil},
		"all in a batch that wait too long": {[]candidate{{key: "a", ready: true, urgent: true, batched: true}, {key: "a", ready: true, batched: true}, {key: "a", ready: true, urgent: true, batched: true}}, 1, true, []int{0, 2}},
	} {
		if got := nextJobs(c.waiting, c.running, 2, c.batch); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// testQueue is a queue whose batches are played by the test.
type testQueue struct {
	*queue
	t       *testing.T
	batches chan *batch
}

// withQueue runs a test on a queue for two commands, in a bubble.
func withQueue(t *testing.T, test func(t *testing.T, q *testQueue)) {
	synctest.Test(t, func(t *testing.T) {
		q := &testQueue{t: t, batches: make(chan *batch, 10)}
		q.queue = newQueue(2, func(ctx context.Context, b *batch) {
			q.batches <- b
			<-ctx.Done()
		})
		test(t, q)
		if q.alone+len(q.queue.batches)+len(q.waiting)+len(q.lookups) != 0 {
			t.Error("something is left")
		}
	})
}

// join has a page wait for a go command, and returns how its build ends: "alone",
// "made" or "cancelled".
func (q *testQueue) join(ctx context.Context, dir string) *player {
	p := &player{job: newJob(ctx, dir, environment{}), end: make(chan string, 1), done: make(chan struct{})}
	p.job.key, p.job.first = "module", true
	q.expect(dir, true)
	q.lookupEnded(dir, p.job)
	go func() { // ends when the test says so
		m, alone, err := q.wait(ctx, p.job)
		switch {
		case err != nil:
			p.end <- "cancelled"
		case alone:
			p.end <- "alone"
			<-p.done
		default:
			p.end <- "made " + m.file
		}
		q.queue.finish(p.job, alone)
		p.end <- "over"
	}()
	synctest.Wait()
	return p
}

type player struct {
	*job
	end  chan string
	done chan struct{} // closed when it may end, if it is built alone
}

func (p *player) want(t *testing.T, how string) {
	t.Helper()
	synctest.Wait()
	select {
	case got := <-p.end:
		if got != how {
			t.Errorf("%s: %s, want %s", p.dir, got, how)
		}
	default:
		if how != "" {
			t.Errorf("%s still waits, want %s", p.dir, how)
		}
	}
}

// startTogether has pages looked for at once, and returns them and their batch.
func (q *testQueue) startTogether(n int) (pages []*player, b *batch) {
	q.expect("gate", true)
	for i := range n {
		pages = append(pages, q.join(q.t.Context(), fmt.Sprintf("/p%02d", i)))
	}
	q.lookupEnded("gate", nil)
	synctest.Wait()
	b = <-q.batches
	if len(b.jobs) != n {
		q.t.Errorf("%d of %d pages are built together", len(b.jobs), n)
	}
	return pages, b
}

// make has a batch make what its rest are waiting for.
func (q *testQueue) make(b *batch, pages ...*player) {
	q.t.Helper()
	for _, p := range pages {
		q.deliver(b, p.job, made{file: p.dir})
		p.want(q.t, "made "+p.dir)
	}
}

func TestAPageIsHandedOverWhenItIsMade(t *testing.T) {
	withQueue(t, func(t *testing.T, q *testQueue) {
		pages, b := q.startTogether(3)
		q.make(b, pages[1])
		pages[1].want(t, "over")
		pages[0].want(t, "")
		b.cancel() // it has ended, and made no more
		pages[0].want(t, "alone")
		pages[2].want(t, "alone")
		close(pages[0].done)
		close(pages[2].done)
		pages[0].want(t, "over")
		pages[2].want(t, "over")
	})
}

func TestWhoPeopleWaitForComesFirstInABatch(t *testing.T) {
	withQueue(t, func(t *testing.T, q *testQueue) {
		q.prioritize("/p02")
		pages, b := q.startTogether(3)
		if got := dirsOf(b.jobs); !slices.Equal(got, []string{"/p02", "/p00", "/p01"}) {
			t.Errorf("the order is %v", got)
		}
		q.clearPriority("/p02")
		q.make(b, pages...)
		b.cancel()
		for _, p := range pages {
			p.want(t, "over")
		}
	})
}

func TestWhoPeopleWaitForLeavesALongBatch(t *testing.T) {
	withQueue(t, func(t *testing.T, q *testQueue) {
		pages, b := q.startTogether(3 + 2*maxAhead)
		near, far, last := pages[2*maxAhead], pages[1+2*maxAhead], pages[2+2*maxAhead]
		q.prioritize(near.dir)
		near.want(t, "") // its turn is soon
		q.prioritize(far.dir)
		far.want(t, "alone")
		q.deliver(b, far.job, made{file: "too late"})
		for _, p := range pages {
			if p != far && p != last {
				q.make(b, p)
			}
		}
		close(far.done)
		far.want(t, "over")
		q.prioritize(last.dir)
		last.want(t, "")
		for range 4 { // and more and more people
			time.Sleep(maxBatchWait / 4)
			q.prioritize(last.dir)
		}
		last.want(t, "alone") // another page takes too long
		close(last.done)
		synctest.Wait()
		last.want(t, "over")
		if len(q.queue.batches) > 0 {
			t.Error("a batch runs on, though nobody waits for it")
		}
		for _, p := range pages {
			q.clearPriority(p.dir)
		}
	})
}

func TestWhatABatchMakesInTimeIsTakenThoughAnotherCommandIsWaitedFor(t *testing.T) {
	withQueue(t, func(t *testing.T, q *testQueue) {
		one, two := q.join(t.Context(), "/one"), q.join(t.Context(), "/two") // alone, as they came one by one
		pages, b := q.startTogetherBehind(3+2*maxAhead, one, two)
		last := pages[2+2*maxAhead]
		q.prioritize(last.dir)
		last.want(t, "alone") // beside the batch there may be one more
		rest := pages[1+2*maxAhead]
		q.prioritize(rest.dir)
		rest.want(t, "")
		q.make(b, rest)
		rest.want(t, "over")
		close(last.done)
		close(two.done)
		q.make(b, pages[:1+2*maxAhead]...)
		synctest.Wait()
	})
}

// startTogetherBehind is startTogether while two are built alone, of which the
// first ends then.
func (q *testQueue) startTogetherBehind(n int, one, two *player) (pages []*player, b *batch) {
	one.want(q.t, "alone")
	two.want(q.t, "alone")
	for i := range n {
		pages = append(pages, q.join(q.t.Context(), fmt.Sprintf("/p%02d", i)))
	}
	select {
	case <-q.batches:
		q.t.Error("a third command runs")
	default:
	}
	close(one.done)
	synctest.Wait()
	return pages, <-q.batches
}

func TestIdleTasksMakeWayForEveryBuild(t *testing.T) {
	withQueue(t, func(t *testing.T, q *testQueue) {
		page := q.join(t.Context(), "/a")
		page.want(t, "alone")
		var log []string
		learn := func(name string) {
			idle, release, err := q.awaitIdle(t.Context())
			if err != nil {
				log = append(log, name+" "+err.Error())
				return
			}
			log = append(log, name)
			<-idle.Done()
			log = append(log, name+" stops")
			release()
		}
		go learn("one")
		synctest.Wait()
		go learn("two")
		synctest.Wait()
		if len(log) > 0 {
			t.Errorf("while a page is built: %v", log)
		}
		close(page.done)
		synctest.Wait()
		q.expect("/b", false)
		synctest.Wait()
		q.lookupEnded("/b", nil)
		synctest.Wait()
		q.expect("/b", true)
		synctest.Wait()
		q.lookupEnded("/b", nil)
		if want := []string{"one", "one stops", "two", "two stops"}; !slices.Equal(log, want) {
			t.Errorf("got %v, want %v", log, want)
		}
		gone, cancel := context.WithCancel(t.Context())
		q.expect("/b", true)
		cancel()
		if _, _, err := q.awaitIdle(gone); err != context.Canceled {
			t.Errorf("idle is %v", err)
		}
		q.lookupEnded("/b", nil)
		if len(q.idleTasks) > 0 || q.running != nil {
			t.Error("a learner is left")
		}
	})
}
