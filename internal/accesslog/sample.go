package accesslog

import (
	"fmt"
	"strconv"
	"time"

	"tqserver/internal/secret"
	"tqserver/internal/state"
)

// What the screen gets is a sample: nobody reads more than a few lines a
// second, and ten thousand a second would push everything else out of what the
// screen keeps. Each page has its share, so that a busy one takes nothing from
// the others; what is left out is counted in a line of its own.

const (
	shareBurst = 200 // lines of a page that may come at once
	shareRate  = 20  // a second after that

	shownMethod = 20  // bytes of a method
	shownTarget = 300 // bytes of a target
)

// lineBudget is what a page has left of the screen.
type lineBudget struct {
	left    float64
	since   time.Time // left was true
	skipped int
}

// refill adds what came in with the time.
func (s *lineBudget) refill(now time.Time) {
	s.left = min(shareBurst, s.left+now.Sub(s.since).Seconds()*shareRate)
	s.since = now
}

// show has a request shown, if its page's share allows that.
func (w *writer) show(r *Record, now time.Time) {
	s := w.budgets[r.Route]
	if s == nil {
		s = &lineBudget{left: shareBurst, since: now}
		w.budgets[r.Route] = s
	}
	s.refill(now)
	if s.left < 1 || s.skipped > 0 {
		s.skipped++
		return
	}
	s.left--
	w.addLine(state.Line{Time: r.Time.Add(r.Took), Page: r.Route, Access: true, Status: r.Status, Text: summary(r)})
}

// reportSkipped tells how many lines were left out, once there is room for that, and
// forgets pages that had nothing to do.
func (w *writer) reportSkipped(now time.Time, ended bool) {
	for page, s := range w.budgets {
		s.refill(now)
		switch {
		case s.skipped > 0 && (s.left >= shareRate || ended):
			w.addLine(state.Line{Time: now, Page: page, Access: true, Text: fmt.Sprintf("… %d requests not shown", s.skipped)})
			s.left--
			s.skipped = 0
		case s.left == shareBurst:
			delete(w.budgets, page)
		}
	}
	w.flushLines()
}

// addLine adds a addLine to those of its page.
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

// summary is a request in a few words, none of which has a space in it.
func summary(r *Record) string {
	b := make([]byte, 0, 128)
	b = appendShort(b, r.Method, shownMethod)
	b = append(b, ' ')
	b = appendShort(b, secret.URL(r.Target), shownTarget)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	b = append(b, duration(r.Took)...)
	b = append(b, ' ')
	return string(append(b, size(r.Bytes)...))
}

// appendShort appends so many bytes of a word at most.
func appendShort(b []byte, s string, most int) []byte {
	b = appendWord(b, s[:min(len(s), most)])
	if len(s) > most {
		b = append(b, "…"...)
	}
	return b
}

func duration(d time.Duration) string {
	switch {
	case d < 9950*time.Microsecond: // or it would round to 10.0
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
