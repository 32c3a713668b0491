// Package logfile writes log lines to files that are named after the day.
//
// A File never makes its caller wait for the disk. Lines go to a bounded queue. One
// goroutine, which the first Write starts and Close ends, writes them to the disk.
// Whatever the disk does, Write returns soon and without an error. Lines that could
// not be written are counted, and reported once a minute.
package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	queueSize    = 4 << 20               // bytes that may wait for the disk
	spareSize    = 64 << 10              // the largest buffer that is reused
	writeTimeout = 50 * time.Millisecond // how long a Write waits for space
	checkEvery   = 2 * time.Second       // how often the file is checked to be still there
	checkIdle    = 5 * time.Second       // the same for a file without recent lines
	retryAfter   = time.Second           // how long a disk is left alone after an error
	warnEvery    = time.Minute           // how often lost lines are reported
	closeAfter   = 2 * time.Second       // how long Close waits for the disk
)

// errBehind is the reason for lines that found the queue full.
var errBehind = errors.New("the disk is too slow")

// errRootMissing is the reason while the template's root does not exist.
var errRootMissing = errors.New("the project's folder is gone")

// A Template names a log file for each day. It is comparable.
type Template struct {
	Root string // the folder that Name is relative to; empty if Name is absolute
	Name string // may contain {path} and {date}; empty means no file
	Page string // replaces {path}
}

// PathOn returns the path for a day, or an empty string for no file. It replaces
// placeholders in Name only, because Root and Page are folders that users name.
func (t Template) PathOn(day time.Time) string {
	if t.Name == "" {
		return ""
	}
	name := strings.NewReplacer("{path}", t.Page, "{date}", day.Format(time.DateOnly)).Replace(t.Name)
	return filepath.Join(t.Root, name)
}

// A File is an io.WriteCloser for log lines. Its methods may be called from
// any goroutine.
type File struct {
	template Template
	warn     func(lost uint64, err error)
	open     func(path string) (handle, error)

	mu      sync.Mutex // guards the fields below
	closed  bool
	queue   []batch       // not taken by run yet
	waiting int           // bytes in the queue or being written
	stalled bool          // a Write has timed out since the disk last accepted something
	space   chan struct{} // closed when there may be space again; nil if nobody waits
	lost    uint64        // lines lost since the last warning
	cause   error         // the reason for the last of them
	wake    chan struct{} // tells run that there is something to do; nil before the first line
	done    chan struct{} // closed when run has returned

	disk disk // owned by run
}

// A batch holds complete lines of one day.
type batch struct {
	day   time.Time // any time of the day
	lines []byte
}

// sameDay reports whether two times are on the same local day.
func sameDay(a, b time.Time) bool {
	return a.Local().YearDay() == b.Local().YearDay() && a.Local().Year() == b.Local().Year()
}

// Open returns a File that writes each line to the path of its local day. It does
// not touch the disk: folders and files are made when lines are written, and errors
// occur then. While the template's root does not exist nothing is made: it was
// renamed, and lines go to the file that was open, wherever it is. A template
// without a name gives a File that discards lines.
//
// Lost lines are reported to warn, by the File's goroutine and at most once a
// minute, with their number since the last report and the reason for the latest
// loss. Warn may be nil, and may write to the File.
func Open(template Template, warn func(lost uint64, err error)) *File {
	if warn == nil {
		warn = func(uint64, error) {}
	}
	return &File{template: template, warn: warn, open: openForAppend}
}

// Path returns the path for a line written now, or an empty string if lines are
// discarded.
func (f *File) Path() string { return f.template.PathOn(time.Now()) }

// Write calls WriteLines with the current time.
func (f *File) Write(p []byte) (int, error) { return f.WriteLines(time.Now(), p) }

// WriteLines queues p for the file of the day on which the lines were made. P must
// consist of complete lines, each with its newline. WriteLines never returns an
// error. If the queue is full it waits for at most 50 ms, and not at all if a wait
// has failed since the disk last accepted something; then the lines are lost. After
// Close lines are discarded.
func (f *File) WriteLines(made time.Time, p []byte) (int, error) {
	if f.template.Name == "" || len(p) == 0 {
		return len(p), nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()

	if f.fullLocked(len(p)) && !f.stalled {
		f.stalled = !f.waitLocked(len(p))
	}
	switch {
	case f.closed:
	case f.fullLocked(len(p)):
		f.loseLocked(p, errBehind)
	default:
		if last := len(f.queue) - 1; last >= 0 && (len(f.queue[last].lines) == 0 || sameDay(f.queue[last].day, made)) {
			f.queue[last] = batch{made, append(f.queue[last].lines, p...)}
		} else {
			f.queue = append(f.queue, batch{made, slices.Clone(p)})
		}
		f.waiting += len(p)
		f.wakeLocked()
	}
	return len(p), nil
}

// fullLocked reports whether n more bytes must wait. An empty queue accepts
// everything, because there will never be more space.
func (f *File) fullLocked(n int) bool {
	return !f.closed && f.waiting > 0 && f.waiting+n > queueSize
}

// waitLocked waits for space for n bytes and reports whether it came in time.
func (f *File) waitLocked(n int) bool {
	late := time.NewTimer(writeTimeout)
	defer late.Stop()
	for f.fullLocked(n) {
		if f.space == nil {
			f.space = make(chan struct{})
		}
		space := f.space
		f.mu.Unlock()
		select {
		case <-space:
			f.mu.Lock()
		case <-late.C:
			f.mu.Lock()
			return !f.fullLocked(n)
		}
	}
	return true
}

func (f *File) loseLocked(lines []byte, err error) {
	f.lost += uint64(bytes.Count(lines, []byte{'\n'}))
	f.cause = err
}

// wakeLocked makes run look at the queue. It starts run for the first line.
func (f *File) wakeLocked() {
	if f.wake == nil {
		f.wake = make(chan struct{}, 1)
		f.done = make(chan struct{})
		go f.run() // ended by Close
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// signalSpaceLocked wakes the writers that wait for space.
func (f *File) signalSpaceLocked() {
	if f.space != nil {
		close(f.space)
		f.space = nil
	}
}

// Close writes what is queued and closes the file. It returns when the File's
// goroutine has ended, or with an error after 2 s if the disk hangs. A second Close
// does the same.
func (f *File) Close() error {
	f.mu.Lock()
	f.closed = true
	f.signalSpaceLocked()
	done := f.done
	if done != nil {
		f.wakeLocked()
	}
	f.mu.Unlock()
	if done == nil {
		return nil
	}

	late := time.NewTimer(closeAfter)
	defer late.Stop()
	select {
	case <-done:
		return nil
	case <-late.C:
		return fmt.Errorf("close %s: the disk did not respond within %v", f.Path(), closeAfter)
	}
}

// run writes queued lines until the File is closed. After the last lines it checks
// the file, the buffers and the lost lines once more, and then only the file, until
// new lines arrive.
func (f *File) run() {
	defer close(f.done)
	defer f.closeFile()
	var spare []byte
	var tick <-chan time.Time
	for {
		select {
		case <-f.wake:
		case <-tick:
			tick, spare = nil, nil
			f.restore(time.Now())
		}

		batches, closed := f.take(spare)
		spare = nil
		wrote := false
		for _, b := range batches {
			if len(b.lines) == 0 {
				continue
			}
			wrote = true
			f.write(b, time.Now())
			f.releaseBytes(len(b.lines))
			if cap(b.lines) <= spareSize {
				spare = b.lines[:0]
			}
		}
		unreported := f.report(time.Now())
		if closed {
			return
		}
		switch {
		case tick != nil:
		case wrote || unreported:
			tick = time.After(checkEvery)
		case f.disk.file != nil:
			tick = time.After(checkIdle)
		}
	}
}

// take returns what is queued, leaves the empty buffer spare in its place, and
// reports whether nothing can follow.
func (f *File) take(spare []byte) (batches []batch, closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	batches, f.queue = f.queue, nil
	if spare != nil {
		f.queue = []batch{{lines: spare}}
	}
	return batches, f.closed
}

// releaseBytes makes space for n bytes that were written or lost.
func (f *File) releaseBytes(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting -= n
	f.stalled = false
	f.signalSpaceLocked()
}

// report reports lost lines if it is time to, and returns whether some are left to
// report.
func (f *File) report(now time.Time) (unreported bool) {
	f.mu.Lock()
	lost, cause := f.lost, f.cause
	// Others report that the project is gone, once for all its files.
	due := f.disk.err != errRootMissing && (f.disk.warned.IsZero() || now.Sub(f.disk.warned) >= warnEvery)
	if lost > 0 && due {
		f.lost = 0
	}
	f.mu.Unlock()
	if lost == 0 || !due {
		return lost > 0
	}
	f.disk.warned = now
	f.warn(lost, cause) // without the lock, because it may write to f
	return false
}
