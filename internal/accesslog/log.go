// Package accesslog writes a line for each request: to a file, in a format that
// other programs know, and a shorter one to the screen.
//
// Whoever responds to a request passes a [Record] to [Log.Record] when the request
// has ended, which never waits. Records go to a bounded queue. One goroutine,
// [Log.Run], which the caller starts and waits for, formats and writes them as
// their settings say, many at a time. Records that find the queue full are lost,
// counted, and reported once a minute.
//
// Nothing that a client sends can make more than one line of a request or put a
// control byte into it, and what is known to be a secret is masked. The formats are
// listed in format.go.
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

// The queue is a slice under a mutex, and the writer exchanges it for an empty one.
// A channel of records would cost the writer another lock for each record and needs
// its full size from the start. A lock-free ring is no faster at two million
// records a second, and much harder to verify.

const (
	queueLen      = 8192
	queueBytes    = 16 << 20              // of the queued records and of the batch that is being written
	spareLen      = 1024                  // the largest queue that is reused
	batchInterval = 20 * time.Millisecond // the least time between two batches
	flushAt       = 256 << 10             // formatted bytes that are written at once
	tickEvery     = time.Second
	warnEvery     = time.Minute
)

// statusClientClosed is the status of a request whose client disconnected before
// the response. nginx uses the same.
const statusClientClosed = 499

var errBehind = errors.New("requests end faster than the access log can be written")

// Record describes a request that has ended. Its strings are not masked.
type Record struct {
	Time               time.Time     // when it arrived
	Took               time.Duration // until the last byte of the response
	Client             string        // address without a port
	Method             string
	Target             string // of the request line
	Proto              string
	Host               string
	Referer, UserAgent string
	Route              string // of the page; empty for none
	Upstream           string // address of the worker that responded; empty for none
	RequestID, TraceID string
	Status             int       // 0 if the client disconnected before the response
	Bytes              int64     // of the response's body
	Settings           *Settings // for its path
}

// size returns how many bytes of memory a record keeps in use.
func (r *Record) size() int {
	return int(unsafe.Sizeof(*r)) + len(r.Client) + len(r.Method) + len(r.Target) + len(r.Proto) + len(r.Host) +
		len(r.Referer) + len(r.UserAgent) + len(r.Route) + len(r.Upstream) + len(r.RequestID) + len(r.TraceID)
}

// Settings are the settings for the requests of a path.
type Settings struct {
	File   logfile.Template
	Format string // a key of formats, or "off": not even the screen
}

// Options configure a Log. Run's goroutine calls both functions, but the goroutines
// of files may call Warn too.
type Options struct {
	Show func(batch []state.Line)     // all of one page
	Warn func(lost uint64, err error) // at most once a minute for each file and for the queue
}

// Log is the access log.
type Log struct {
	opts  Options
	named atomic.Pointer[map[logfile.Template]bool] // the files in use; the map does not change
	wake  chan struct{}                             // of capacity 1

	mu    sync.Mutex // guards the fields below
	queue []Record
	bytes int // of memory that the queue and the current batch use
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

// Configure sets which settings are in use. Files that none of them names are
// closed when the records for them are written.
func (l *Log) Configure(inUse []Settings) {
	named := make(map[logfile.Template]bool)
	for _, s := range inUse {
		if s.Format != "off" {
			named[s.File] = true
		}
	}
	l.named.Store(&named)
	l.wakeUp()
}

// Record queues a record. It never waits: if the queue is full, the record is lost
// and counted. Records that arrive after the context of Run has ended may be
// discarded.
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

// Run writes records until the context ends. It returns when all earlier records
// are written and the files are closed.
func (l *Log) Run(ctx context.Context) {
	defer l.out.close()
	var spare []Record
	var lost uint64
	var why error // nil if only the queue was full
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

// take returns the queued records, their bytes and the number of lost ones. Spare
// becomes the new queue.
func (l *Log) take(spare []Record) (batch []Record, bytes int, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch, bytes, lost = l.queue, l.bytes, l.lost
	l.queue, l.lost = spare, 0
	return batch, bytes, lost
}

// releaseBytes notes that a batch is not kept in memory any more.
func (l *Log) releaseBytes(bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes -= bytes
}
