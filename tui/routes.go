package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"tqserver/internal/state"

	"github.com/charmbracelet/lipgloss"
)

// routeList is what the user chose in the Routes pane.
type routeList struct {
	selected string // route
	touched  bool   // the user pressed a key or the mouse
	filter   string
	sort     int // index in sortings
}

// keepSelection selects another page if the selected one is gone. Nothing else moves
// the selection but the user; until then it is on the first page, in whatever order
// they come. Routes are sorted.
func (l *routeList) keepSelection(routes []string) {
	i, ok := slices.BinarySearch(routes, l.selected)
	switch {
	case len(routes) == 0, ok && l.touched:
	case !l.touched:
		l.selected = routes[0]
	default:
		l.selected = routes[min(i, len(routes)-1)]
	}
}

// shown returns the rows that pass the filter, in the chosen order.
func (l *routeList) shown(rows []row) []row {
	rows = slices.DeleteFunc(rows, func(r row) bool { return l.filter != "" && !contains(r.Route, l.filter) })
	slices.SortStableFunc(rows, sortings[l.sort].less)
	return rows
}

// move moves the selection in a table.
func (l *routeList) move(by int, rows []row) {
	if len(rows) == 0 {
		return
	}
	at := slices.IndexFunc(rows, func(r row) bool { return r.Route == l.selected })
	l.selected = rows[max(0, min(at+by, len(rows)-1))].Route
}

// selectShown selects the first row if the selected page is not among them.
func (l *routeList) selectShown(rows []row) {
	if len(rows) > 0 && !slices.ContainsFunc(rows, func(r row) bool { return r.Route == l.selected }) {
		l.selected = rows[0].Route
	}
}

// row is a page as the table shows it.
type row struct {
	state.Page
	load state.Load
}

// serving returns the worker that serves, or nil.
func (r row) serving() *state.Worker {
	for i := range r.Workers {
		if r.Workers[i].Role == state.RoleServing {
			return &r.Workers[i]
		}
	}
	return nil
}

// present returns the worker that serves, or else one that starts, or nil.
func (r row) present() *state.Worker {
	if w := r.serving(); w != nil {
		return w
	}
	for i := range r.Workers {
		if r.Workers[i].Role == state.RoleStarting {
			return &r.Workers[i]
		}
	}
	return nil
}

// broken reports whether the newest version of the page cannot serve.
func (r row) broken() bool {
	return r.Phase == state.Failed || r.Trouble.Kind == state.TroubleConflict || r.Phase == state.Crashed && r.Trouble.Kind != "" || len(r.Build.Problems) > 0 && r.Phase != state.Stopped
}

// state returns the phase as a glyph and a word, and its style.
func (r row) state(l look) (text string, style lipgloss.Style) {
	switch r.Phase {
	case state.Serving:
		if r.load.Draining > 0 {
			return "◑ draining", l.busy
		}
		return "● up", l.good
	case state.Building:
		return "◐ building", l.busy
	case state.Starting:
		return "◐ starting", l.busy
	case state.Failed, state.Conflict:
		return "▲ FAILED", l.bad
	case state.Crashed:
		return "✖ crashed", l.bad
	case state.Stopped:
		if len(r.Workers) > 0 {
			return "◑ draining", l.busy
		}
		return "○ stopped", l.dim
	case state.Waiting:
		return "◌ no port", l.warn
	case state.Asleep:
		return "○ asleep", l.dim
	}
	return string(r.Phase), l.dim
}

// attention returns the place of a page in the order of attention: broken ones first.
func (r row) attention() int {
	order := []state.Phase{state.Failed, state.Conflict, state.Crashed, state.Waiting, state.Building, state.Starting, state.Serving, state.Asleep, state.Stopped}
	return slices.Index(order, r.Phase)
}

func (r row) health(now time.Time) string {
	w := r.serving()
	switch {
	case !r.Next.IsZero() && (r.Phase == state.Crashed || w == nil):
		return fmt.Sprintf("retry %ds", max(0, int(r.Next.Sub(now).Round(time.Second)/time.Second)))
	case r.load.Draining > 0:
		return fmt.Sprintf("%d in-fl", r.load.Draining)
	case w == nil:
		return "—"
	case w.FailedChecks > 0:
		return fmt.Sprintf("failed %d", w.FailedChecks)
	case r.load.Upgraded > 0:
		return fmt.Sprintf("ok %d ws", r.load.Upgraded)
	}
	return "ok"
}

// build returns how long the newest build took, or how long it has been running, or
// the number of the build that serves in its place.
func (r row) build(now time.Time) string {
	switch {
	case r.Phase == state.Building && !r.Build.Started.IsZero():
		return fmt.Sprintf("%.1fs…", max(0, now.Sub(r.Build.Started).Seconds()))
	case r.broken() && r.ServingBuild > 0 && r.Trouble.Kind != state.TroubleConflict:
		return fmt.Sprintf("#%d", r.ServingBuild)
	}
	return took(r.Build.Took)
}

// column is a column of the table. On a narrow screen the column with the lowest
// dropRank is dropped first; 0 is never dropped.
type column struct {
	title    string
	width    int
	dropRank int
	left     bool
	cell     func(r row, now time.Time) string
}

func ofPresent(f func(*state.Worker) string) func(row, time.Time) string {
	return func(r row, _ time.Time) string {
		if w := r.present(); w != nil {
			return f(w)
		}
		return "—"
	}
}

func ofServing(f func(row) string) func(row, time.Time) string {
	return func(r row, _ time.Time) string {
		if r.serving() == nil {
			return "—"
		}
		return f(r)
	}
}

var columns = []column{
	{"STATE", 10, 0, true, nil},
	{"PORT", 5, 9, false, ofPresent(func(w *state.Worker) string { return fmt.Sprint(w.Port) })},
	{"PID", 7, 4, false, ofPresent(func(w *state.Worker) string { return fmt.Sprint(w.PID) })},
	{"BUILD", 6, 0, false, row.build},
	{"SWAP", 6, 3, false, ofServing(func(r row) string { return took(r.Swap) })},
	{"REQ/S", 6, 10, false, func(r row, _ time.Time) string { return rate(r.load.Rate) }},
	{"P95", 6, 0, false, func(r row, _ time.Time) string { return took(r.load.P95) }},
	{"5XX", 5, 5, false, func(r row, _ time.Time) string { return fmt.Sprint(r.load.Errors) }},
	{"HEALTH", 9, 7, false, row.health},
	{"RST", 4, 8, false, func(r row, _ time.Time) string { return fmt.Sprint(r.Restarts) }},
	{"MEM", 5, 6, false, ofServing(func(r row) string { return memory(r.load.Memory) })},
	{"CPU", 5, 2, false, ofServing(func(r row) string { return fmt.Sprintf("%d%%", r.load.CPU) })},
	{"AGE", 5, 1, false, func(r row, now time.Time) string {
		if w := r.serving(); w != nil {
			return age(now.Sub(w.Since))
		}
		return "—"
	}},
}

// fitting returns the columns for a table of w cells, and the width left for routes.
func fitting(w, routes int) (cols []column, route int) {
	cols = slices.Clone(columns)
	for {
		used := 4 // mark and margins
		last, at := 0, -1
		for i, c := range cols {
			used += 1 + c.width
			if c.dropRank > 0 && (at < 0 || c.dropRank < last) {
				last, at = c.dropRank, i
			}
		}
		if route = w - used; route >= min(routes, 20) || at < 0 {
			return cols, max(4, route)
		}
		cols = slices.Delete(cols, at, at+1)
	}
}

// sorting is an order of the table.
type sorting struct {
	name string
	less func(a, b row) int
}

var sortings = []sorting{
	{"route", func(a, b row) int { return 0 }},
	{"attention", func(a, b row) int { return cmp.Compare(a.attention(), b.attention()) }},
	{"req/s", func(a, b row) int { return cmp.Compare(b.load.Rate, a.load.Rate) }},
	{"p95", func(a, b row) int { return cmp.Compare(b.load.P95, a.load.P95) }},
	{"memory", func(a, b row) int { return cmp.Compare(b.load.Memory, a.load.Memory) }},
}

// sortingNames returns the names of the orders.
func sortingNames() (names []string) {
	for _, s := range sortings {
		names = append(names, s.name)
	}
	return names
}

// routesPane draws the table.
type routesPane struct {
	look     look
	rows     []row // in their order
	selected string
	top      int
	now      time.Time
	empty    string
}

// render returns h lines of w cells. The first has the titles of the columns.
func (p routesPane) render(w, h int) []string {
	if h <= 0 {
		return nil
	}
	widest := 5
	for _, r := range p.rows {
		widest = max(widest, width(r.Route))
	}
	cols, routeWidth := fitting(w, widest)
	var head strings.Builder
	head.WriteString("   " + left("ROUTE", routeWidth))
	for _, c := range cols {
		head.WriteString(" " + c.fit(c.title))
	}
	out := []string{p.look.dim.Render(left(head.String(), w))}
	top := p.first(h - 1)
	for i := top; i < len(p.rows) && len(out) < h; i++ {
		if len(out) == h-1 && i < len(p.rows)-1 && h > 3 {
			out = append(out, p.look.dim.Render(left(fmt.Sprintf("   … %d more below", len(p.rows)-i), w)))
			break
		}
		out = append(out, p.line(p.rows[i], cols, routeWidth, w))
	}
	if len(p.rows) == 0 && h > 1 {
		out = append(out, p.look.dim.Render(left("   "+p.empty, w)))
	}
	for len(out) < h {
		out = append(out, spaces(w))
	}
	return out
}

// first returns the row at the top, so that the selected row is visible.
func (p routesPane) first(lines int) int {
	at := max(0, slices.IndexFunc(p.rows, func(r row) bool { return r.Route == p.selected }))
	visible := lines
	if lines > 2 && len(p.rows) > lines {
		visible-- // the last line says how many are below
	}
	top := min(p.top, at, max(0, len(p.rows)-lines))
	if at >= len(p.rows)-1 && len(p.rows) > lines {
		return max(0, len(p.rows)-lines)
	}
	return max(top, at-visible+1, 0)
}

func (p routesPane) line(r row, cols []column, routeWidth, w int) string {
	mark := "   "
	if r.Route == p.selected {
		mark = ">  "
	}
	route := left(clean(r.Route), routeWidth)
	word, style := r.state(p.look)
	selected := r.Route == p.selected
	shown := func(text string) string { return text }
	if selected {
		shown = p.look.mark
		style = style.Reverse(true)
	}
	var b strings.Builder
	b.WriteString(shown(mark + route))
	used := len(mark) + routeWidth
	if !plain(route) {
		b.WriteString(toColumn(used))
	}
	for _, c := range cols {
		text := c.fit(c.text(r, p.now, word))
		used += 1 + width(text)
		switch {
		case c.cell == nil && p.look.coloured:
			text = style.Render(text)
		case selected:
			text = shown(text)
		case strings.TrimSpace(text) == "—" || strings.TrimSpace(text) == "0":
			text = p.look.dim.Render(text)
		}
		b.WriteString(shown(" ") + text)
	}
	b.WriteString(shown(spaces(w - used)))
	return strings.ReplaceAll(b.String(), "\x1b[27m\x1b[7m", "") // one mark, not one a cell
}

func (c column) text(r row, now time.Time, word string) string {
	if c.cell == nil {
		return word
	}
	return c.cell(r, now)
}

func (c column) fit(s string) string {
	if c.left {
		return left(s, c.width)
	}
	return right(s, c.width)
}
