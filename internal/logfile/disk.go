package logfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tqserver/internal/project"
)

// A disk is the state of the goroutine that writes.
type disk struct {
	file     handle // nil if none is open
	path     string // of file
	info     fs.FileInfo
	checked  time.Time // when path was last known to lead to file
	err      error     // the last error, at failedAt
	failedAt time.Time
	warned   time.Time
}

// A handle is an open file: an *os.File, or a faulty disk in a test.
type handle interface {
	io.WriteCloser
	Stat() (fs.FileInfo, error)
	Fd() uintptr
}

func openForAppend(path string) (handle, error) {
	// A typed nil must not become a handle.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// write writes lines to the disk, or counts them as lost.
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

// openFor makes sure that the file at path is open.
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

// restore makes the open file again if it was deleted or moved.
func (f *File) restore(now time.Time) {
	d := &f.disk
	if d.err == errRootMissing && !f.isRootMissing() {
		d.err = nil // lost lines may be reported now
	}
	if d.file == nil || d.isSameFile(now) || f.isRootMissing() {
		return
	}
	f.closeFile()
	if err := f.openFile(d.path, now); err != nil {
		f.noteError(err, now)
	}
}

// isRootMissing reports whether the template's root does not exist.
func (f *File) isRootMissing() bool {
	if f.template.Root == "" {
		return false
	}
	_, err := os.Stat(f.template.Root)
	return errors.Is(err, fs.ErrNotExist)
}

// noteError notes an error of the disk. It closes the file, so that the next
// attempt checks how its last line ended.
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

// makeFolder makes a folder and those above it, but never root, which may just be
// being renamed.
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
		f.disk.file.Close() // each write has returned its own error
		f.disk.file = nil
	}
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

// hasName reports whether the open file still has a name.
func (d *disk) hasName() bool {
	info, err := d.file.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || stat.Nlink > 0
}

// endHalfLine ends the last line of the file, unless another process has the file
// open: what looks like half a line may then be in progress. Processes recognize
// each other by a lock, which the kernel releases when the file is closed. Nobody
// waits for it, because another program may hold it for as long as it likes.
func endHalfLine(file handle, path string) (fs.FileInfo, error) {
	fd := int(file.Fd())
	shared := errors.Is(syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
	info, err := file.Stat()
	if err == nil && !shared && endsInHalfLine(path, info) {
		_, err = file.Write([]byte{'\n'})
	}
	syscall.Flock(fd, syscall.LOCK_SH|syscall.LOCK_NB) // where locks do not work nobody else uses them
	return info, err
}

// endsInHalfLine reports whether a full disk or a crash cut the last line short. If
// it cannot tell, it returns false.
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
