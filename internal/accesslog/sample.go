package accesslog

import (
	"fmt"
	"strconv"
	"time"

	"tqserver/internal/secret"
	"tqserver/internal/state"
)

// The screen shows a sample: nobody reads more than a few lines a second, and ten
// thousand would push everything else out of the lines that it keeps. Each page has
// a budget, so that a busy page takes nothing from others. An extra line counts
// what was left out.

const (
	budgetBurst = 200 // lines of a page at once
	budgetRate  = 20  // lines a second after that

	maxMethod = 20  // bytes
	maxTarget = 300 // bytes
)

// lineBudget is what a page may still show.
type lineBudget struct {
	lines   float64   // that may be shown now
	since   time.Time // when lines was updated
	skipped int
}

// refill adds what has become available since the last call.
func (s *lineBudget) refill(now time.Time) {
	s.lines = min(budgetBurst, s.lines+now.Sub(s.since).Seconds()*budgetRate)
	s.since = now
}

// show adds the line of a request if the budget of its page allows it.
func (w *writer) show(r *Record, now time.Time) {
	s := w.budgets[r.Route]
	if s == nil {
		s = &lineBudget{lines: budgetBurst, since: now}
		w.budgets[r.Route] = s
	}
	s.refill(now)
	if s.lines < 1 || s.skipped > 0 {
		s.skipped++
		return
	}
	s.lines--
	w.addLine(state.Line{Time: r.Time.Add(r.Took), Page: r.Route, Access: true, Status: r.Status, Text: summary(r)})
}

// reportSkipped adds a line with the number of requests left out when the budget
// allows it, and forgets pages without requests.
func (w *writer) reportSkipped(now time.Time, ended bool) {
	for page, s := range w.budgets {
		s.refill(now)
		switch {
		case s.skipped > 0 && (s.lines >= budgetRate || ended):
			w.addLine(state.Line{Time: now, Page: page, Access: true, Text: fmt.Sprintf("… %d requests not shown", s.skipped)})
			s.lines--
			s.skipped = 0
		case s.lines == budgetBurst:
			delete(w.budgets, page)
		}
	}
	w.flushLines()
}

// addLine adds a line to those of its page.
func (w *writer) addLine(l state.Line) {
	if len(w.lines) > 0 && w.lines[0].Page != l.Page {
		w.flushLines()
	}
	w.lines = append(w.lines, l)
}

func (w *writer) flushLines() {
	if len(w.lines) > 0 {
		w.opts.Show(w.lines)
		clear(w.lines)
		w.lines = w.lines[:0]
	}
}

// summary returns a request in a few words without spaces in them.
func summary(r *Record) string {
	b := make([]byte, 0, 128)
	b = appendShort(b, r.Method, maxMethod)
	b = append(b, ' ')
	b = appendShort(b, secret.URL(r.Target), maxTarget)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	b = append(b, duration(r.Took)...)
	b = append(b, ' ')
	return string(append(b, size(r.Bytes)...))
}

// appendShort appends at most so many bytes of a word.
func appendShort(b []byte, s string, most int) []byte {
	b = appendWord(b, s[:min(len(s), most)])
	if len(s) > most {
		b = append(b, "…"...)
	}
	return b
}

func duration(d time.Duration) string {
	switch {
	case d < 9950*time.Microsecond: // else it would be rounded to 10.0
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

func size(bytes int64) string {
	n := float64(bytes)
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		switch {
		case unit == "B" && n < 1000:
			return fmt.Sprintf("%d B", bytes)
		case unit != "B" && n < 9.95:
			return fmt.Sprintf("%.1f %s", n, unit)
		case n < 999.5:
			return fmt.Sprintf("%.0f %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.0f TB", n)
}
