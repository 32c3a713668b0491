package accesslog

import (
	"time"

	"tqserver/internal/logfile"
	"tqserver/internal/recovered"
	"tqserver/internal/state"
)

// file is an open file with the lines that wait to be written.
type file struct {
	*logfile.File
	buffer []byte
	day    time.Time // of the lines in buffer
}

// add appends the line of a request to the buffer, which holds lines of one day.
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

// writer writes batches. Only Run's goroutine uses it.
type writer struct {
	opts    Options
	files   map[logfile.Template]*file // by the setting that names them
	budgets map[string]*lineBudget     // by page
	lines   []state.Line               // for the screen, all of one page
}

// write writes a batch, then closes files that are not in use. It returns how many
// records it could not write, and why.
func (w *writer) write(batch []Record, named map[logfile.Template]bool, now time.Time) (unwritable uint64, why error) {
	for i := range batch {
		// A request must not be able to end the server.
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

// file returns the file with a name, and opens it if necessary.
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
