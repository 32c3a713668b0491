package accesslog

import (
	"time"

	"tqserver/internal/logfile"
	"tqserver/internal/recovered"
	"tqserver/internal/state"
)

// file is an open file and what is to be written to it.
type file struct {
	*logfile.File
	buffer []byte
	day    time.Time // of the lines in the buffer
}

// add puts a request's line into the buffer, which is for one day.
func (f *file) add(r *Record, format string) {
	if at := r.Time.Local(); at.YearDay() != f.day.YearDay() || at.Year() != f.day.Year() {
		f.flush()
		f.day = at
	}
	f.buffer = appendLine(f.buffer, r, format)
	if len(f.buffer) >= flushAt {
		f.flush()
	}
}

func (f *file) flush() {
	f.WriteLines(f.day, f.buffer)
	if f.buffer = f.buffer[:0]; cap(f.buffer) > 2*flushAt {
		f.buffer = nil
	}
}

// writer is what only the goroutine of Run needs to know.
type writer struct {
	opts    Options
	files   map[logfile.Template]*file // by the setting that names them
	budgets map[string]*lineBudget     // of the screen, by page
	lines   []state.Line               // of one page, for the screen
}

// write writes a batch, closes files that are not named, and returns how many of
// the batch could not be written and why.
func (w *writer) write(batch []Record, named map[logfile.Template]bool, now time.Time) (unwritable uint64, why error) {
	for i := range batch {
		// What a client sent must not end the server.
		if err := recovered.Call(func() error { w.writeOne(&batch[i], now); return nil }); err != nil {
			unwritable, why = unwritable+1, err
		}
	}
	for name, f := range w.files {
		f.flush()
		if !named[name] {
			f.Close()
			delete(w.files, name)
		}
	}
	w.flushLines()
	return unwritable, why
}

func (w *writer) writeOne(r *Record, now time.Time) {
	s := r.Settings
	if s.Format == "off" {
		return
	}
	if r.Status == 0 {
		r.Status = statusClientClosed
	}
	if s.File.Name != "" {
		w.file(s.File).add(r, s.Format)
	}
	w.show(r, now)
}

// file returns an open file.
func (w *writer) file(name logfile.Template) *file {
	f := w.files[name]
	if f == nil {
		f = &file{File: logfile.Open(name, w.opts.Warn)}
		w.files[name] = f
	}
	return f
}

func (w *writer) close() {
	for _, f := range w.files {
		f.Close()
	}
}
