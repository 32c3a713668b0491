package build

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Pages that need the go command wait in a queue. One command builds all pages
// that agree on module and settings, because a go command takes as long to
// determine what there is to do as the compiler takes for a page. So a page waits
// for pages that still look for a binary made earlier: they may need the compiler
// too.
//
//	lookup ──► waiting ──► alone, or in a batch ──► made
//	  │          ▲                    │
//	  ▼          └────────────────────┘ it became urgent, or the batch did not make it
//	found
//
// A page is urgent if people wait for it. It comes first in its command. If it
// is far from its turn in a command that already runs, it gets one of its own.
// Idle tasks, which make later builds faster, run when nothing else does.

const (
	// maxAhead is how many pages of a batch, for each command that may run, may
	// come before an urgent one. A command of its own takes as long as several
	// pages of a batch, and the batch builds the page all the same.
	maxAhead = 8
	// maxBatchWait is how long an urgent page waits for its batch before it gets
	// a command of its own: another page may have modules to download.
	maxBatchWait = 2 * time.Second
)

// job is one page that needs the compiler.
type job struct {
	ctx         context.Context
	dir         string
	env         environment
	hidden      []string          // files that the go command must not see
	stamps      map[string]string // files that it sees in addition
	first       bool              // the first build of the page by this server
	wantPlan    bool              // record the commands of the go command, to make a plan
	path        string            // import path, if the inputs are known
	module      string            // file of the module or workspace
	key         string            // one command can build all pages of a key; empty: build alone
	afterLookup uint64            // lookups up to this number began before the job waited

	batch       *batch            // that builds it now
	leftBatches []<-chan struct{} // closed when batches end whose last job it was
	delivered   bool              // a batch has made it
	made        chan made         // gets what the batch made
	start       chan struct{}     // gets a value when the job may build alone
	urgent      chan struct{}     // gets a value when the job is urgent and in a batch
}

func newJob(ctx context.Context, dir string, env environment) *job {
	return &job{ctx: ctx, dir: dir, env: env, made: make(chan made, 1), start: make(chan struct{}, 1), urgent: make(chan struct{}, 1)}
}

// batch is one go command for several pages.
type batch struct {
	jobs   []*job // in the order in which they are built
	made   int    // number of jobs whose binary is made
	cancel context.CancelFunc
	done   chan struct{}
}

// made is a binary that a batch made.
type made struct {
	file     string    // belongs to who gets it
	listed   *listing  // nil if go list did not run
	commands *commands // of the go command; nil if not wanted or not understood
}

func (m made) remove() { os.Remove(m.file) }

// queue decides which pages are built when, and by which command.
type queue struct {
	limit      int // of go commands at a time
	startBatch func(context.Context, *batch)

	mu         sync.Mutex // guards all below, and the fields of each job from key to delivered
	lastLookup uint64
	lookups    map[string]pendingLookup // by folder
	waiting    []*job
	alone      int // jobs that build alone
	batches    []*batch
	urgent     map[string]bool // by folder
	running    *idleTask
	idleTasks  []*idleTask // that wait
}

// idleTask is work that is done while nothing is built.
type idleTask struct {
	cancel context.CancelFunc
	start  chan struct{}
}

// pendingLookup is the search for a binary of a page, under way or announced.
type pendingLookup struct {
	number uint64
	fresh  bool // the page was never built: the lookup is short, and a build is sure to follow
}

func newQueue(limit int, startBatch func(context.Context, *batch)) *queue {
	return &queue{limit: limit, startBatch: startBatch, lookups: make(map[string]pendingLookup), urgent: make(map[string]bool)}
}

// expect announces a lookup.
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

// lookupEnded ends a lookup, and queues the job if one came of it.
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

// prioritize makes a page urgent.
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

// priority returns the priority of a page's lookup.
func (q *queue) priority(dir string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.urgent[dir] {
		return priorityUrgent
	}
	return priorityOther
}

// promoteLocked queues a job of a batch for a command of its own as well, if more
// than limit others come before it in the batch.
func (q *queue) promoteLocked(j *job, limit int) {
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
	case ahead > limit || limit == 0:
		q.waiting = append(q.waiting, j)
	default:
		select {
		case j.urgent <- struct{}{}:
		default:
		}
	}
}

// wait waits until a batch has made the page, or until the page may be built
// alone. Call finish in either case.
func (q *queue) wait(ctx context.Context, j *job) (m made, alone bool, err error) {
	var timeout <-chan time.Time // of the batch, since the job became urgent
	for {
		select {
		case m := <-j.made:
			return m, false, nil
		case <-j.start:
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

// finish ends a job, whatever came of it. A batch without other jobs has ended,
// with its processes, when finish returns.
func (q *queue) finish(j *job, alone bool) {
	q.mu.Lock()
	q.waiting = slices.DeleteFunc(q.waiting, func(w *job) bool { return w == j })
	q.leaveBatchLocked(j)
	select {
	case <-j.start: // it could have started as it gave up
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
	if b.made < len(b.jobs) { // otherwise it is only cleaning up
		b.cancel()
	}
	j.leftBatches = append(j.leftBatches, b.done)
}

// deliver gives a job what a batch has made for it.
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

// candidate is what nextJobs needs to know of a job that waits.
type candidate struct {
	key     string
	urgent  bool
	ready   bool // no lookup is pending that could join it
	first   bool // this server has not built it before, so nobody edits it
	batched bool // a batch builds it too
}

// nextJobs returns which candidates the next command builds, in order; none if no
// command may start. At most limit commands run at a time. There may be one more
// beside a background batch, so that a save need not wait for the start of the
// server.
func nextJobs(waiting []candidate, running, limit int, background bool) []int {
	leader := -1
	for i, c := range waiting {
		allowed := running < limit || background && running == limit && (c.urgent || !c.first)
		if c.ready && allowed && (leader < 0 || c.urgent && !waiting[leader].urgent) {
			leader = i
		}
	}
	if leader < 0 {
		return nil
	}
	next := []int{leader}
	if key := waiting[leader].key; key != "" {
		for _, urgent := range []bool{true, false} {
			for i, c := range waiting {
				if i != leader && c.key == key && c.urgent == urgent && (urgent || !c.batched) {
					next = append(next, i)
				}
			}
		}
	}
	return next
}

// startJobsLocked starts all jobs that may start.
func (q *queue) startJobsLocked() {
	for {
		next := nextJobs(q.candidatesLocked(), q.alone+len(q.batches), q.limit, q.hasBackgroundBatchLocked())
		if next == nil {
			break
		}
		jobs := make([]*job, len(next))
		for i, n := range next {
			jobs[i] = q.waiting[n]
		}
		q.waiting = slices.DeleteFunc(q.waiting, func(j *job) bool { return slices.Contains(jobs, j) })
		for _, j := range jobs {
			q.leaveBatchLocked(j)
		}
		if len(jobs) == 1 {
			q.alone++
			jobs[0].start <- struct{}{}
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

// hasBackgroundBatchLocked reports whether a batch runs without urgent jobs, or
// with such that wait for another command too.
func (q *queue) hasBackgroundBatchLocked() bool {
	return slices.ContainsFunc(q.batches, func(b *batch) bool {
		return !slices.ContainsFunc(b.jobs, func(j *job) bool {
			return j.batch == b && !j.delivered && q.urgent[j.dir] && !slices.Contains(q.waiting, j)
		})
	})
}

// startBatchLocked starts a command for several jobs, the urgent ones first.
func (q *queue) startBatchLocked(jobs []*job) {
	slices.SortStableFunc(jobs, func(x, y *job) int {
		if urgent := q.urgent[x.dir]; urgent != q.urgent[y.dir] {
			return map[bool]int{true: -1, false: 1}[urgent]
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
	go func() { // ends with the go command, for which the last of the jobs waits
		defer close(b.done)
		defer cancel()
		q.startBatch(ctx, b)
		q.batchEnded(b)
	}()
}

// batchEnded ends a batch. Pages that it has not made are built alone, which shows
// why it could not make them.
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

// clearPriority makes a page ordinary again when its build has ended.
func (q *queue) clearPriority(dir string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.urgent, dir)
}

// awaitIdle waits until no page is built or waits. The context that it returns ends
// when one does. Call release when the work is done.
func (q *queue) awaitIdle(ctx context.Context) (idle context.Context, release func(), err error) {
	idle, cancel := context.WithCancel(ctx)
	task := &idleTask{cancel, make(chan struct{})}
	q.mu.Lock()
	q.idleTasks = append(q.idleTasks, task)
	q.startIdleTaskLocked()
	q.mu.Unlock()
	release = func() {
		cancel()
		q.mu.Lock()
		defer q.mu.Unlock()
		q.idleTasks = slices.DeleteFunc(q.idleTasks, func(other *idleTask) bool { return other == task })
		if q.running == task {
			q.running = nil
		}
		q.startIdleTaskLocked()
	}
	select {
	case <-task.start:
		return idle, release, nil
	case <-ctx.Done():
		release()
		return nil, nil, ctx.Err()
	}
}

// startIdleTaskLocked starts the next idle task if there is nothing else to do.
func (q *queue) startIdleTaskLocked() {
	if q.running != nil || len(q.idleTasks) == 0 || len(q.lookups)+len(q.waiting)+q.alone+len(q.batches) > 0 {
		return
	}
	q.running = q.idleTasks[0]
	q.idleTasks = q.idleTasks[1:]
	close(q.running.start)
}
