// Package accesslog writes a line for each request: to a file, in a form that
// programs know, and in a shorter one to the screen.
//
// Who answers a request hands in a [Record] when it has ended, and goes on at
// once: records go to a bounded queue, and one goroutine, [Log.Run], which its
// caller starts and waits for, formats them and writes them where their settings
// say, many at a time. What finds the queue full is lost, counted, and
// reported once a minute. Nothing that a client sends can make more than one
// line of a request, or have a control byte written; what is known to be a
// secret is not written at all.
package accesslog

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"tqserver/internal/logfile"
	"tqserver/internal/state"
)

// The queue is a slice under a mutex, which the writer exchanges for an empty
// one. A channel of records would be locked once more for each of them, on the
// writer's side, and takes its full size from the start; a ring without locks
// is no faster at two million records a second, and much harder to believe.

const (
	queueLen      = 8192
	queueBytes    = 16 << 20              // that are kept of requests, those of a batch that is being written too
	spareLen      = 1024                  // the largest queue that is used again
	batchInterval = 20 * time.Millisecond // between two batches
	flushAt       = 256 << 10             // bytes that are formatted before they are written
	tickEvery     = time.Second
	warnEvery     = time.Minute
)

// statusClientClosed is the status of a request whose client left before the answer, as nginx
// has it.
const statusClientClosed = 499

var errBehind = errors.New("requests end faster than the access log can be written")

// Record is a request that has ended. Its strings are as they came.
type Record struct {
	Time               time.Time     // it came
	Took               time.Duration // until the last byte of the answer
	Client             string        // address, without a port
	Method             string
	Target             string // of the request line, masked when it is written
	Proto              string
	Host               string
	Referer, UserAgent string
	Route              string // the page, empty for none
	Upstream           string // address of the worker that answered, empty for none
	RequestID, TraceID string
	Status             int       // 0 if the client left before there was one
	Bytes              int64     // of the answer's body
	Settings           *Settings // say what becomes of it
}

// size is what a record keeps alive.
func (r *Record) size() int {
	return int(unsafe.Sizeof(*r)) + len(r.Client) + len(r.Method) + len(r.Target) + len(r.Proto) + len(r.Host) +
		len(r.Referer) + len(r.UserAgent) + len(r.Route) + len(r.Upstream) + len(r.RequestID) + len(r.TraceID)
}

// Settings say what becomes of the requests of a path.
type Settings struct {
	File   logfile.Template
	Format string // "common", "combined", "json", or "off": not even the screen
}

// Options is what a Log needs. All functions are called by the goroutine of
// Run, but for Warn, which files may call from theirs.
type Options struct {
	Show func(batch []state.Line)     // of one page
	Warn func(lost uint64, err error) // at most once a minute for each file, and for the queue
}

// Log is the access log.
type Log struct {
	opts  Options
	named atomic.Pointer[map[logfile.Template]bool] // files; the map is not changed
	wake  chan struct{}                             // holds one

	mu    sync.Mutex // guards all below
	queue []Record
	bytes int // that the queue keeps alive, and the batch under way
	lost  uint64

	out writer // owned by Run
}

// New returns a log that keeps records until Run writes them.
func New(opts Options) *Log {
	l := &Log{opts: opts, wake: make(chan struct{}, 1)}
	l.named.Store(new(map[logfile.Template]bool))
	l.out = writer{opts: opts, files: make(map[logfile.Template]*file), budgets: make(map[string]*lineBudget)}
	return l
}

// Configure says which settings are in force. Files that none of them names are
// closed when what was recorded for them is written.
func (l *Log) Configure(inForce []Settings) {
	named := make(map[logfile.Template]bool)
	for _, s := range inForce {
		if s.Format != "off" {
			named[s.File] = true
		}
	}
	l.named.Store(&named)
	l.wakeUp()
}

// Record has a request written down. It never waits: if the queue is full the
// request is counted as lost. Records that come after the context of Run ended
// may be discarded.
func (l *Log) Record(r Record) {
	size := r.size()
	l.mu.Lock()
	first := len(l.queue) == 0
	if len(l.queue) >= queueLen || l.bytes+size > queueBytes {
		l.lost++
	} else {
		l.queue = append(l.queue, r)
		l.bytes += size
	}
	l.mu.Unlock()
	if first {
		l.wakeUp()
	}
}

func (l *Log) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run writes until the context ends, and returns when all that was recorded
// before is written and the files are closed.
func (l *Log) Run(ctx context.Context) {
	defer l.out.close()
	var spare []Record
	var lost uint64
	var why error // nil if nothing but the queue was full
	var warned time.Time
	for ended := false; !ended; {
		var tick <-chan time.Time
		if lost > 0 || len(l.out.budgets) > 0 {
			tick = time.After(tickEvery)
		}
		select {
		case <-l.wake:
		case <-tick:
		case <-ctx.Done():
			ended = true
		}
		batch, bytes, more := l.take(spare)
		lost += more
		now := time.Now()
		unwritable, err := l.out.write(batch, *l.named.Load(), now)
		lost, why = lost+unwritable, cmp.Or(err, why)
		if l.out.reportSkipped(now, ended); lost > 0 && (ended || warned.IsZero() || now.Sub(warned) >= warnEvery) {
			l.opts.Warn(lost, cmp.Or(why, errBehind))
			lost, why, warned = 0, nil, now
		}
		written := len(batch) > 0
		clear(batch)
		l.releaseBytes(bytes)
		if spare = batch[:0]; cap(spare) > spareLen {
			spare = nil
		}
		if written && !ended {
			select {
			case <-time.After(batchInterval):
			case <-ctx.Done():
			}
		}
	}
}

// take returns what is queued, with the bytes that are kept, and leaves an empty
// queue in its place.
func (l *Log) take(spare []Record) (batch []Record, bytes int, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch, bytes, lost = l.queue, l.bytes, l.lost
	l.queue, l.lost = spare, 0
	return batch, bytes, lost
}

// releaseBytes notes that a batch is not kept any more.
func (l *Log) releaseBytes(bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes -= bytes
}
