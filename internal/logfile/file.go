// Package logfile writes log lines to files that are named after the day.
//
// A File never makes its writer wait for the disk: lines go to a bounded queue,
// and one goroutine, started by the first Write and ended by Close, takes them
// to the disk. Whatever the disk does, Write returns soon and without an error;
// lines that could not be kept are counted, and reported once a minute.
package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tqserver/internal/project"
)

const (
	queueSize    = 4 << 20               // bytes that may wait for the disk
	spareSize    = 64 << 10              // the largest buffer that is used again
	writeTimeout = 50 * time.Millisecond // how long a Write waits for room
	checkEvery   = 2 * time.Second       // how often we look whether the file is still there
	checkIdle    = 5 * time.Second       // the same for a file to which nothing was written lately
	retryAfter   = time.Second           // how long a disk that refused is left alone
	warnEvery    = time.Minute           // how often we complain
	closeAfter   = 2 * time.Second       // how long Close waits for the disk
)

// errBehind is the reason given for lines that found the queue full.
var errBehind = errors.New("the disk is too slow")

// errRootMissing is the reason while the folder that the file lies in is not there.
var errRootMissing = errors.New("the project's folder is gone")

// A Template names a log file for each day. It is comparable.
type Template struct {
	Root string // the folder that Name is seen from; empty if Name is absolute
	Name string // may hold {path} and {date}; empty for no file
	Page string // what {path} stands for
}

// PathOn returns the path of a day, or nothing for no file. Only placeholders of
// Name are replaced: Root and Page are names of people's folders.
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
	queue   []batch       // that nobody has taken yet
	waiting int           // bytes in the queue or on their way to the disk
	stalled bool          // a Write has waited in vain since the disk last took something
	space   chan struct{} // closed when there may be room again; nil if nobody waits
	lost    uint64        // lines lost since the last warning
	cause   error         // why the last of them was lost
	wake    chan struct{} // tells run that there is something to do; nil before the first line
	done    chan struct{} // closed when run has returned

	disk disk // owned by run
}

// A batch is whole lines of one day.
type batch struct {
	day   time.Time // any time of it
	lines []byte
}

// sameDay reports whether two times are of one local day.
func sameDay(a, b time.Time) bool {
	return a.Local().YearDay() == b.Local().YearDay() && a.Local().Year() == b.Local().Year()
}

// A disk is what only the goroutine that writes needs to know.
type disk struct {
	file     handle // nil if none is open
	path     string // of file
	info     fs.FileInfo
	checked  time.Time // when path was last known to lead to file
	err      error     // what the disk answered when it was last asked, at refused
	failedAt time.Time
	warned   time.Time
}

// A handle is an open file: an *os.File, or a disk that misbehaves in a test.
type handle interface {
	io.WriteCloser
	Stat() (fs.FileInfo, error)
	Fd() uintptr
}

// Open returns a File that writes each line to the path of its local day. It
// touches nothing: folders and files are made, and trouble is met, when lines
// are written. While the template's root is not there nothing is made: the
// folder was renamed, and lines go to the file that was open, wherever it is by
// now. A template without a name gives a File that discards.
//
// Lines that were lost are reported to warn, from the File's own goroutine and
// at most once a minute, with their number since the last report and the reason
// for the newest loss. Warn may be nil, and may write to the File.
func Open(template Template, warn func(lost uint64, err error)) *File {
	if warn == nil {
		warn = func(uint64, error) {}
	}
	return &File{template: template, warn: warn, open: openFile}
}

func openFile(path string) (handle, error) {
	// A typed nil must not become a handle.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Path returns the path that a line written now goes to, or nothing if lines
// are discarded.
func (f *File) Path() string { return f.template.PathOn(time.Now()) }

// Write is WriteLines for lines of this moment.
func (f *File) Write(p []byte) (int, error) { return f.WriteLines(time.Now(), p) }

// WriteLines queues p, which must be whole lines, each with its newline, for the
// file of the day on which they were made. It never returns an error. If the queue is full it waits for at most 50 ms, and if the
// disk has taken nothing since somebody waited in vain it does not wait at all;
// then the lines count as lost. After Close they are discarded.
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

// fullLocked reports whether n more bytes must wait. An empty queue takes
// everything, because more room than that there will never be.
func (f *File) fullLocked(n int) bool {
	return !f.closed && f.waiting > 0 && f.waiting+n > queueSize
}

// waitLocked waits for room for n bytes and reports whether it came in time.
func (f *File) waitLocked(n int) bool {
	late := time.NewTimer(writeTimeout)
	defer late.Stop()
	for f.fullLocked(n) {
		if f.space == nil {
			f.space = make(chan struct{})
		}
		room := f.space
		f.mu.Unlock()
		select {
		case <-room:
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

// wakeLocked makes run look at the queue, and starts it for the first line.
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

// signalSpaceLocked wakes the writers that wait for room.
func (f *File) signalSpaceLocked() {
	if f.space != nil {
		close(f.space)
		f.space = nil
	}
}

// Close writes what is queued, closes the file and returns when the File's
// goroutine has ended, or with an error after 2 s if the disk hangs. A second
// Close does the same.
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

// run takes lines from the queue to the disk until the File is closed. It looks
// after the file, the buffers and the warnings once more after the last lines
// came, and then only after the file until there are new ones.
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
// tells whether nothing can follow.
func (f *File) take(spare []byte) (batches []batch, closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	batches, f.queue = f.queue, nil
	if spare != nil {
		f.queue = []batch{{lines: spare}}
	}
	return batches, f.closed
}

// releaseBytes makes room for as many bytes as have left the queue for good.
func (f *File) releaseBytes(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting -= n
	f.stalled = false
	f.signalSpaceLocked()
}

// write takes lines to the disk, or counts them as lost.
func (f *File) write(b batch, now time.Time) {
	lines := b.lines
	err := f.openFor(f.template.PathOn(b.day), now)
	if err == nil {
		var n int
		n, err = f.disk.file.Write(lines)
		if err == nil {
			return
		}
		lines = lines[n:]
		f.noteError(err, now)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loseLocked(lines, err)
}

// openFor sees to it that the right file is open.
func (f *File) openFor(path string, now time.Time) error {
	d := &f.disk
	if d.err != nil && now.Sub(d.failedAt) < retryAfter {
		return d.err
	}
	if d.file != nil && path == d.path && now.Sub(d.checked) < checkEvery {
		return nil
	}
	if d.file != nil && (path != d.path || !d.isSameFile(now)) {
		if f.isRootMissing() && d.hasName() {
			d.checked = now
			return nil
		}
		f.closeFile()
	}
	if d.file != nil {
		return nil
	}
	err := f.openFile(path, now)
	if err != nil {
		f.noteError(err, now)
		return err
	}
	d.err = nil
	return nil
}

// restore makes the open file again if it has been deleted or moved away.
func (f *File) restore(now time.Time) {
	d := &f.disk
	if d.err == errRootMissing && !f.isRootMissing() {
		d.err = nil // what was lost can be told
	}
	if d.file == nil || d.isSameFile(now) || f.isRootMissing() {
		return
	}
	f.closeFile()
	if err := f.openFile(d.path, now); err != nil {
		f.noteError(err, now)
	}
}

// isRootMissing reports whether the folder is away in which the file is to lie.
func (f *File) isRootMissing() bool {
	if f.template.Root == "" {
		return false
	}
	_, err := os.Stat(f.template.Root)
	return errors.Is(err, fs.ErrNotExist)
}

// noteError notes that the disk answered with an error. The file is closed, so
// that the next attempt finds out how its last line ended.
func (f *File) noteError(err error, now time.Time) {
	f.closeFile()
	f.disk.err, f.disk.failedAt = err, now
}

func (f *File) openFile(path string, now time.Time) error {
	if f.isRootMissing() {
		return errRootMissing
	}
	if err := makeFolder(f.template.Root, filepath.Dir(path)); err != nil {
		return err
	}
	file, err := f.open(path)
	if err != nil {
		return err
	}
	info, err := endHalfLine(file, path)
	if err != nil {
		file.Close()
		return err
	}
	d := &f.disk
	d.file, d.path, d.info, d.checked = file, path, info, now
	return nil
}

// makeFolder makes a folder with those above it, but never root itself: it may
// be renamed this moment.
func makeFolder(root, dir string) error {
	rel, ok := project.Rel(root, dir)
	if !ok {
		return os.MkdirAll(dir, 0o755)
	}
	for name := range strings.SplitSeq(rel, string(filepath.Separator)) {
		root = filepath.Join(root, name)
		if info, err := os.Stat(root); err == nil && info.IsDir() {
			continue
		}
		if err := os.Mkdir(root, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

func (f *File) closeFile() {
	if f.disk.file != nil {
		f.disk.file.Close() // every line was handed over with its own error
		f.disk.file = nil
	}
}

// report warns about lost lines if it is time to, and tells whether there are
// some left to warn about.
func (f *File) report(now time.Time) (unreported bool) {
	f.mu.Lock()
	lost, cause := f.lost, f.cause
	// That the project is gone is said for all its files, by others.
	due := f.disk.err != errRootMissing && (f.disk.warned.IsZero() || now.Sub(f.disk.warned) >= warnEvery)
	if lost > 0 && due {
		f.lost = 0
	}
	f.mu.Unlock()
	if lost == 0 || !due {
		return lost > 0
	}
	f.disk.warned = now
	f.warn(lost, cause) // not under the lock: it may write to f
	return false
}

// isSameFile reports whether the path still leads to the open file.
func (d *disk) isSameFile(now time.Time) bool {
	info, err := os.Stat(d.path)
	if err != nil || !os.SameFile(info, d.info) {
		return false
	}
	d.checked = now
	return true
}

// hasName reports whether the open file has a name somewhere.
func (d *disk) hasName() bool {
	info, err := d.file.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || stat.Nlink > 0
}

// endHalfLine ends the last line of the file, unless somebody else has the file
// open for lines: what looks like half of one may then be on its way. They tell
// each other by a lock, which the kernel takes back when the file is closed. Nobody
// waits for it: another program may have it for as long as it likes.
func endHalfLine(file handle, path string) (fs.FileInfo, error) {
	fd := int(file.Fd())
	shared := errors.Is(syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
	info, err := file.Stat()
	if err == nil && !shared && endsInHalfLine(path, info) {
		_, err = file.Write([]byte{'\n'})
	}
	syscall.Flock(fd, syscall.LOCK_SH|syscall.LOCK_NB) // where there are no locks there is nobody to tell
	return info, err
}

// endsInHalfLine reports whether a full disk or a crash cut the last line of the
// file short. Where that cannot be told it is taken to be whole.
func endsInHalfLine(path string, info fs.FileInfo) bool {
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	var last [1]byte
	_, err = file.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] != '\n'
}
