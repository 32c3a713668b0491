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
	near = 8
	// patience is how long people wait for a batch at most before the page gets
	// a command of its own: another page may have modules to download.
	patience = 2 * time.Second
)

// job is one page to build, from when it is known to need the compiler.
type job struct {
	ctx    context.Context
	dir    string
	how    how
	hidden []string          // files that the go command is not to see
	stamps map[string]string // files that it is to see besides
	first  bool              // of this server
	again  bool              // it may pay to find out how to do without the go command
	path   string            // by which it is imported, if it is known what the page is made of
	module string            // whose file is what decides how imports are found
	key    string            // pages of one key can be built by one command; empty for a page that is built alone
	after  uint64            // looks up to this number began before it waited

	batch   *batch            // that builds it now
	left    []<-chan struct{} // the ends of batches in which it was the last
	got     bool              // a batch has made it
	made    chan made         // holds that
	mine    chan struct{}     // holds one: it is built alone now
	hurried chan struct{}     // holds one: people wait for it, and a batch builds it
}

func newJob(ctx context.Context, dir string, h how) *job {
	return &job{ctx: ctx, dir: dir, how: h, made: make(chan made, 1), mine: make(chan struct{}, 1), hurried: make(chan struct{}, 1)}
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

// turns is the queue.
type turns struct {
	limit int // go commands at once
	begin func(context.Context, *batch)

	mu       sync.Mutex // guards all below, and the fields of each job from key to got
	number   uint64
	looking  map[string]look // by folder
	waiting  []*job
	alone    int // jobs that are built by a command of their own
	batches  []*batch
	hurry    map[string]bool // folders of pages that people wait for
	learning *learner        // whose turn it is
	learners []*learner
}

// learner waits until nobody is built.
type learner struct {
	cancel context.CancelFunc
	mine   chan struct{}
}

// look is a page that looks for its binary, or is about to.
type look struct {
	number uint64
	fresh  bool // it was never built: it takes no time, and a command is sure to follow
}

func newTurns(limit int, begin func(context.Context, *batch)) *turns {
	return &turns{limit: limit, begin: begin, looking: make(map[string]look), hurry: make(map[string]bool)}
}

// expect says that a page is about to be built.
func (t *turns) expect(dir string, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.learning != nil {
		t.learning.cancel()
	}
	if _, known := t.looking[dir]; !known {
		t.number++
		t.looking[dir] = look{t.number, fresh}
	}
}

// looked is the end of a look. A job, if one came of it, waits for its turn.
func (t *turns) looked(dir string, j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.looking, dir)
	if j != nil {
		j.after = t.number
		t.waiting = append(t.waiting, j)
	}
	t.startLocked()
}

// hurryUp notes that people wait for a page.
func (t *turns) hurryUp(dir string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hurry[dir] = true
	for _, b := range t.batches {
		for _, j := range b.jobs {
			if j.dir == dir && j.batch == b {
				t.promoteLocked(j, near*t.limit)
			}
		}
	}
	t.startLocked()
}

// rank says how urgent a look is.
func (t *turns) rank(dir string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hurry[dir] {
		return rankHurried
	}
	return rankOther
}

// promoteLocked lets a page that a batch builds wait for a command of its own as
// well, if more than so many others come before it.
func (t *turns) promoteLocked(j *job, before int) {
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
	case j.got, slices.Contains(t.waiting, j):
	case ahead > before || before == 0:
		t.waiting = append(t.waiting, j)
	default:
		select {
		case j.hurried <- struct{}{}:
		default:
		}
	}
}

// wait waits until a batch has made the page, or until it is its turn to be
// built alone. Call done in either case.
func (t *turns) wait(ctx context.Context, j *job) (m made, alone bool, err error) {
	var tired <-chan time.Time // since when people wait, however many have come since
	for {
		select {
		case m := <-j.made:
			return m, false, nil
		case <-j.mine:
			return made{}, true, nil
		case <-j.hurried:
			if tired == nil {
				tired = time.After(patience)
			}
		case <-tired:
			t.mu.Lock()
			if j.batch != nil {
				t.promoteLocked(j, 0)
				t.startLocked()
			}
			t.mu.Unlock()
		case <-ctx.Done():
			return made{}, false, ctx.Err()
		}
	}
}

// done is the end of a job, whatever came of it. A batch that nobody waits for
// any more has ended, with its processes, when done returns.
func (t *turns) done(j *job, alone bool) {
	t.mu.Lock()
	t.waiting = slices.DeleteFunc(t.waiting, func(w *job) bool { return w == j })
	t.leaveLocked(j)
	select {
	case <-j.mine: // its turn came as it gave up
		alone = true
	default:
	}
	if alone {
		t.alone--
	}
	t.startLocked()
	t.mu.Unlock()
	select {
	case m := <-j.made:
		m.remove()
	default:
	}
	for _, ended := range j.left {
		<-ended
	}
}

// leaveLocked takes a job out of its batch, which ends with the last one.
func (t *turns) leaveLocked(j *job) {
	b := j.batch
	j.batch = nil
	if b == nil || slices.ContainsFunc(b.jobs, func(other *job) bool { return other.batch == b }) {
		return
	}
	if b.made < len(b.jobs) { // or else it only cleans up
		b.cancel()
	}
	j.left = append(j.left, b.done)
}

// deliver hands a job what a batch has made of it.
func (t *turns) deliver(b *batch, j *job, m made) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if j.batch != b || j.got {
		m.remove()
		return
	}
	b.made++
	j.got = true
	j.made <- m
	t.waiting = slices.DeleteFunc(t.waiting, func(w *job) bool { return w == j })
}

// candidate is a page that waits for a go command, as far as that decides whose
// turn it is.
type candidate struct {
	key     string
	hurried bool // people wait for it
	ready   bool // whoever may join it has
	first   bool // it was not built before, so that nobody edits it
	batched bool // a batch builds it, but too late
}

// nextTurn returns which of the candidates are built by the next command, in
// what order, given how many commands run of how many that may; none if
// nobody's turn has come. Who does not just start the server need not wait for
// a batch that does so: there may be one command more beside one.
func nextTurn(waiting []candidate, running, limit int, batch bool) []int {
	leader := -1
	for i, c := range waiting {
		allowed := running < limit || batch && running == limit && (c.hurried || !c.first)
		if c.ready && allowed && (leader < 0 || c.hurried && !waiting[leader].hurried) {
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
				if i != leader && c.key == key && c.hurried == hurried && (hurried || !c.batched) {
					turn = append(turn, i)
				}
			}
		}
	}
	return turn
}

// startLocked has built whose turn it is.
func (t *turns) startLocked() {
	for {
		turn := nextTurn(t.candidatesLocked(), t.alone+len(t.batches), t.limit, t.calmBatchLocked())
		if turn == nil {
			break
		}
		jobs := make([]*job, len(turn))
		for i, n := range turn {
			jobs[i] = t.waiting[n]
		}
		t.waiting = slices.DeleteFunc(t.waiting, func(j *job) bool { return slices.Contains(jobs, j) })
		for _, j := range jobs {
			t.leaveLocked(j)
		}
		if len(jobs) == 1 {
			t.alone++
			jobs[0].mine <- struct{}{}
			continue
		}
		t.batchLocked(jobs)
	}
	t.learnLocked()
}

func (t *turns) candidatesLocked() []candidate {
	all := make([]candidate, len(t.waiting))
	for i, j := range t.waiting {
		c := candidate{key: j.key, hurried: t.hurry[j.dir], ready: true, first: j.first, batched: j.batch != nil}
		if j.key != "" {
			for _, l := range t.looking {
				c.ready = c.ready && (l.number > j.after || c.hurried && !l.fresh)
			}
		}
		all[i] = c
	}
	return all
}

// calmBatchLocked reports whether a batch runs of which people wait for nothing,
// or for nothing that does not wait for another command too.
func (t *turns) calmBatchLocked() bool {
	return slices.ContainsFunc(t.batches, func(b *batch) bool {
		return !slices.ContainsFunc(b.jobs, func(j *job) bool {
			return j.batch == b && !j.got && t.hurry[j.dir] && !slices.Contains(t.waiting, j)
		})
	})
}

// batchLocked begins a batch.
func (t *turns) batchLocked(jobs []*job) {
	slices.SortStableFunc(jobs, func(x, y *job) int {
		if hurry := t.hurry[x.dir]; hurry != t.hurry[y.dir] {
			return map[bool]int{true: -1, false: 1}[hurry]
		}
		return strings.Compare(x.dir, y.dir)
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(jobs[0].ctx))
	b := &batch{jobs: jobs, cancel: cancel, done: make(chan struct{})}
	t.batches = append(t.batches, b)
	for _, j := range jobs {
		j.batch = b
		if t.hurry[j.dir] {
			select {
			case j.hurried <- struct{}{}:
			default:
			}
		}
	}
	go func() { // ends with the go command, which the last of the jobs waits for
		defer close(b.done)
		defer cancel()
		t.begin(ctx, b)
		t.ended(b)
	}()
}

// ended is the end of a batch. What it has not made is built alone, which tells
// why.
func (t *turns) ended(b *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.batches = slices.DeleteFunc(t.batches, func(other *batch) bool { return other == b })
	for _, j := range b.jobs {
		if j.batch != b || j.got {
			continue
		}
		j.batch, j.key = nil, ""
		if !slices.Contains(t.waiting, j) {
			t.waiting = append(t.waiting, j)
		}
	}
	t.startLocked()
}

// calm forgets that people wait for a page: its build has ended.
func (t *turns) calm(dir string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.hurry, dir)
}

// idle waits until nobody waits for a build. The context that it returns ends
// when somebody does. Call release when the work is done.
func (t *turns) idle(ctx context.Context) (idle context.Context, release func(), err error) {
	idle, cancel := context.WithCancel(ctx)
	l := &learner{cancel, make(chan struct{})}
	t.mu.Lock()
	t.learners = append(t.learners, l)
	t.learnLocked()
	t.mu.Unlock()
	release = func() {
		cancel()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.learners = slices.DeleteFunc(t.learners, func(other *learner) bool { return other == l })
		if t.learning == l {
			t.learning = nil
		}
		t.learnLocked()
	}
	select {
	case <-l.mine:
		return idle, release, nil
	case <-ctx.Done():
		release()
		return nil, nil, ctx.Err()
	}
}

// learnLocked lets the next learn who waits for that, if there is nothing else
// to do.
func (t *turns) learnLocked() {
	if t.learning != nil || len(t.learners) == 0 || len(t.looking)+len(t.waiting)+t.alone+len(t.batches) > 0 {
		return
	}
	t.learning = t.learners[0]
	t.learners = t.learners[1:]
	close(t.learning.mine)
}
