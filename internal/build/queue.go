package build

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Who is built when. Pages that need the go command wait in a queue, and one
// command builds all of them that agree on module and settings: a go command
// needs as long to find out what there is to do as the compiler for a page. So
// a page waits for those that still look for a binary that was made before, of
// which it is not known yet whether they need the compiler too.
//
//	look ──► waiting ──► alone, or one of a batch ──► made
//	 │          ▲                    │
//	 ▼          └────────────────────┘ people wait for it, or the batch did not make it
//	found
//
// A page that people wait for comes first in its command. If it is far from its
// turn in one that runs already, it gets a command of its own. Whatever makes
// later builds faster is done when none of this is under way.

const (
	// near is how many pages, for each command that may run, may come before one
	// that people wait for. A command of its own takes what several pages take in
	// a batch, and the batch builds the page all the same.
	maxAhead = 8
	// patience is how long people wait for a batch at most before the page gets
	// a command of its own: another page may have modules to download.
	maxBatchWait = 2 * time.Second
)

// job is one page to build, from when it is known to need the compiler.
type job struct {
	ctx         context.Context
	dir         string
	env         environment
	hidden      []string          // files that the go command is not to see
	stamps      map[string]string // files that it is to see besides
	first       bool              // of this server
	wantPlan    bool              // it may pay to find out how to do without the go command
	path        string            // by which it is imported, if it is known what the page is made of
	module      string            // whose file is what decides how imports are found
	key         string            // pages of one key can be built by one command; empty for a page that is built alone
	afterLookup uint64            // looks up to this number began before it waited

	batch       *batch            // that builds it now
	leftBatches []<-chan struct{} // the ends of batches in which it was the last
	delivered   bool              // a batch has made it
	made        chan made         // holds that
	alone       chan struct{}     // holds one: it is built alone now
	urgent      chan struct{}     // holds one: people wait for it, and a batch builds it
}

func newJob(ctx context.Context, dir string, env environment) *job {
	return &job{ctx: ctx, dir: dir, env: env, made: make(chan made, 1), alone: make(chan struct{}, 1), urgent: make(chan struct{}, 1)}
}

// batch is one go command for several pages.
type batch struct {
	jobs   []*job // in the order in which they are built
	made   int    // so many of them
	cancel context.CancelFunc
	done   chan struct{}
}

// made is a binary that a batch made.
type made struct {
	file     string    // to be moved away
	listed   *listing  // nil if go list was not asked
	commands *commands // that the go command ran, if that was asked and is understood
}

func (m made) remove() { os.Remove(m.file) }

// queue is the queue.
type queue struct {
	limit      int // go commands at once
	startBatch func(context.Context, *batch)

	mu         sync.Mutex // guards all below, and the fields of each job from key to got
	lastLookup uint64
	lookups    map[string]pendingLookup // by folder
	waiting    []*job
	alone      int // jobs that are built by a command of their own
	batches    []*batch
	urgent     map[string]bool // folders of pages that people wait for
	running    *idleTask       // whose turn it is
	idleTasks  []*idleTask
}

// idleTask waits until nobody is built.
type idleTask struct {
	cancel context.CancelFunc
	mine   chan struct{}
}

// pendingLookup is a page that looks for its binary, or is about to.
type pendingLookup struct {
	number uint64
	fresh  bool // it was never built: it takes no time, and a command is sure to follow
}

func newQueue(limit int, begin func(context.Context, *batch)) *queue {
	return &queue{limit: limit, startBatch: begin, lookups: make(map[string]pendingLookup), urgent: make(map[string]bool)}
}

// expect says that a page is about to be built.
func (q *queue) expect(dir string, fresh bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running != nil {
		q.running.cancel()
	}
	if _, known := q.lookups[dir]; !known {
		q.lastLookup++
		q.lookups[dir] = pendingLookup{q.lastLookup, fresh}
	}
}

// lookupEnded is the end of a look. A job, if one came of it, waits for its turn.
func (q *queue) lookupEnded(dir string, j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.lookups, dir)
	if j != nil {
		j.afterLookup = q.lastLookup
		q.waiting = append(q.waiting, j)
	}
	q.startJobsLocked()
}

// prioritize notes that people wait for a page.
func (q *queue) prioritize(dir string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.urgent[dir] = true
	for _, b := range q.batches {
		for _, j := range b.jobs {
			if j.dir == dir && j.batch == b {
				q.promoteLocked(j, maxAhead*q.limit)
			}
		}
	}
	q.startJobsLocked()
}

// priority says how urgent a look is.
func (q *queue) priority(dir string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.urgent[dir] {
		return priorityUrgent
	}
	return priorityOther
}

// promoteLocked lets a page that a batch builds wait for a command of its own as
// well, if more than so many others come before it.
func (q *queue) promoteLocked(j *job, before int) {
	ahead := 0
	for _, other := range j.batch.jobs {
		if other == j {
			break
		}
		if other.batch == j.batch {
			ahead++
		}
	}
	switch {
	case j.delivered, slices.Contains(q.waiting, j):
	case ahead > before || before == 0:
		q.waiting = append(q.waiting, j)
	default:
		select {
		case j.urgent <- struct{}{}:
		default:
		}
	}
}

// wait waits until a batch has made the page, or until it is its turn to be
// built alone. Call done in either case.
func (q *queue) wait(ctx context.Context, j *job) (m made, alone bool, err error) {
	var timeout <-chan time.Time // since when people wait, however many have come since
	for {
		select {
		case m := <-j.made:
			return m, false, nil
		case <-j.alone:
			return made{}, true, nil
		case <-j.urgent:
			if timeout == nil {
				timeout = time.After(maxBatchWait)
			}
		case <-timeout:
			q.mu.Lock()
			if j.batch != nil {
				q.promoteLocked(j, 0)
				q.startJobsLocked()
			}
			q.mu.Unlock()
		case <-ctx.Done():
			return made{}, false, ctx.Err()
		}
	}
}

// finish is the end of a job, whatever came of it. A batch that nobody waits for
// any more has ended, with its processes, when done returns.
func (q *queue) finish(j *job, alone bool) {
	q.mu.Lock()
	q.waiting = slices.DeleteFunc(q.waiting, func(w *job) bool { return w == j })
	q.leaveBatchLocked(j)
	select {
	case <-j.alone: // its turn came as it gave up
		alone = true
	default:
	}
	if alone {
		q.alone--
	}
	q.startJobsLocked()
	q.mu.Unlock()
	select {
	case m := <-j.made:
		m.remove()
	default:
	}
	for _, ended := range j.leftBatches {
		<-ended
	}
}

// leaveBatchLocked takes a job out of its batch, which ends with the last one.
func (q *queue) leaveBatchLocked(j *job) {
	b := j.batch
	j.batch = nil
	if b == nil || slices.ContainsFunc(b.jobs, func(other *job) bool { return other.batch == b }) {
		return
	}
	if b.made < len(b.jobs) { // or else it only cleans up
		b.cancel()
	}
	j.leftBatches = append(j.leftBatches, b.done)
}

// deliver hands a job what a batch has made of it.
func (q *queue) deliver(b *batch, j *job, m made) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.batch != b || j.delivered {
		m.remove()
		return
	}
	b.made++
	j.delivered = true
	j.made <- m
	q.waiting = slices.DeleteFunc(q.waiting, func(w *job) bool { return w == j })
}

// candidate is a page that waits for a go command, as far as that decides whose
// turn it is.
type candidate struct {
	key     string
	urgent  bool // people wait for it
	ready   bool // whoever may join it has
	first   bool // it was not built before, so that nobody edits it
	batched bool // a batch builds it, but too late
}

// nextJobs returns which of the candidates are built by the next command, in
// what order, given how many commands run of how many that may; none if
// nobody's turn has come. Who does not just start the server need not wait for
// a batch that does so: there may be one command more beside one.
func nextJobs(waiting []candidate, running, limit int, batch bool) []int {
	leader := -1
	for i, c := range waiting {
		allowed := running < limit || batch && running == limit && (c.urgent || !c.first)
		if c.ready && allowed && (leader < 0 || c.urgent && !waiting[leader].urgent) {
			leader = i
		}
	}
	if leader < 0 {
		return nil
	}
	turn := []int{leader}
	if key := waiting[leader].key; key != "" {
		for _, hurried := range []bool{true, false} {
			for i, c := range waiting {
				if i != leader && c.key == key && c.urgent == hurried && (hurried || !c.batched) {
					turn = append(turn, i)
				}
			}
		}
	}
	return turn
}

// startJobsLocked has built whose turn it is.
func (q *queue) startJobsLocked() {
	for {
		turn := nextJobs(q.candidatesLocked(), q.alone+len(q.batches), q.limit, q.hasBackgroundBatchLocked())
		if turn == nil {
			break
		}
		jobs := make([]*job, len(turn))
		for i, n := range turn {
			jobs[i] = q.waiting[n]
		}
		q.waiting = slices.DeleteFunc(q.waiting, func(j *job) bool { return slices.Contains(jobs, j) })
		for _, j := range jobs {
			q.leaveBatchLocked(j)
		}
		if len(jobs) == 1 {
			q.alone++
			jobs[0].alone <- struct{}{}
			continue
		}
		q.startBatchLocked(jobs)
	}
	q.startIdleTaskLocked()
}

func (q *queue) candidatesLocked() []candidate {
	all := make([]candidate, len(q.waiting))
	for i, j := range q.waiting {
		c := candidate{key: j.key, urgent: q.urgent[j.dir], ready: true, first: j.first, batched: j.batch != nil}
		if j.key != "" {
			for _, l := range q.lookups {
				c.ready = c.ready && (l.number > j.afterLookup || c.urgent && !l.fresh)
			}
		}
		all[i] = c
	}
	return all
}

// hasBackgroundBatchLocked reports whether a batch runs of which people wait for nothing,
// or for nothing that does not wait for another command too.
func (q *queue) hasBackgroundBatchLocked() bool {
	return slices.ContainsFunc(q.batches, func(b *batch) bool {
		return !slices.ContainsFunc(b.jobs, func(j *job) bool {
			return j.batch == b && !j.delivered && q.urgent[j.dir] && !slices.Contains(q.waiting, j)
		})
	})
}

// startBatchLocked begins a batch.
func (q *queue) startBatchLocked(jobs []*job) {
	slices.SortStableFunc(jobs, func(x, y *job) int {
		if hurry := q.urgent[x.dir]; hurry != q.urgent[y.dir] {
			return map[bool]int{true: -1, false: 1}[hurry]
		}
		return strings.Compare(x.dir, y.dir)
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(jobs[0].ctx))
	b := &batch{jobs: jobs, cancel: cancel, done: make(chan struct{})}
	q.batches = append(q.batches, b)
	for _, j := range jobs {
		j.batch = b
		if q.urgent[j.dir] {
			select {
			case j.urgent <- struct{}{}:
			default:
			}
		}
	}
	go func() { // ends with the go command, which the last of the jobs waits for
		defer close(b.done)
		defer cancel()
		q.startBatch(ctx, b)
		q.batchEnded(b)
	}()
}

// batchEnded is the end of a batch. What it has not made is built alone, which tells
// why.
func (q *queue) batchEnded(b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batches = slices.DeleteFunc(q.batches, func(other *batch) bool { return other == b })
	for _, j := range b.jobs {
		if j.batch != b || j.delivered {
			continue
		}
		j.batch, j.key = nil, ""
		if !slices.Contains(q.waiting, j) {
			q.waiting = append(q.waiting, j)
		}
	}
	q.startJobsLocked()
}

// clearPriority forgets that people wait for a page: its build has ended.
func (q *queue) clearPriority(dir string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.urgent, dir)
}

// awaitIdle waits until nobody waits for a build. The context that it returns ends
// when somebody does. Call release when the work is done.
func (q *queue) awaitIdle(ctx context.Context) (idle context.Context, release func(), err error) {
	idle, cancel := context.WithCancel(ctx)
	l := &idleTask{cancel, make(chan struct{})}
	q.mu.Lock()
	q.idleTasks = append(q.idleTasks, l)
	q.startIdleTaskLocked()
	q.mu.Unlock()
	release = func() {
		cancel()
		q.mu.Lock()
		defer q.mu.Unlock()
		q.idleTasks = slices.DeleteFunc(q.idleTasks, func(other *idleTask) bool { return other == l })
		if q.running == l {
			q.running = nil
		}
		q.startIdleTaskLocked()
	}
	select {
	case <-l.mine:
		return idle, release, nil
	case <-ctx.Done():
		release()
		return nil, nil, ctx.Err()
	}
}

// startIdleTaskLocked lets the next learn who waits for that, if there is nothing else
// to do.
func (q *queue) startIdleTaskLocked() {
	if q.running != nil || len(q.idleTasks) == 0 || len(q.lookups)+len(q.waiting)+q.alone+len(q.batches) > 0 {
		return
	}
	q.running = q.idleTasks[0]
	q.idleTasks = q.idleTasks[1:]
	close(q.running.mine)
}
