package tui

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"tqserver/internal/state"
)

// logs is what the Logs pane can show, and how it shows it.
type logs struct {
	store  logStore
	views  map[string]*logView // by page, "" for all
	merged bool                // all pages, not the selected one
	wrap   bool
	times  bool
}

func newLogs() logs {
	return logs{store: logStore{pages: make(map[string]*ring), partial: make(map[state.Stream]bool)}, views: make(map[string]*logView), times: true}
}

// refreshed returns the log of a page and its view, up to date.
func (l *logs) refreshed(page string) (*logView, *ring) {
	v := l.views[page]
	if v == nil {
		v = newLogView()
		l.views[page] = v
	}
	r := l.store.of(page)
	v.refresh(r)
	return v, r
}

// shown returns what refreshed returned last.
func (l *logs) shown(page string) (*logView, *ring) {
	v := l.views[page]
	if v == nil {
		return newLogView(), new(ring)
	}
	return v, l.store.of(page)
}

// logView is how one page's log is viewed. It stays with the page.
type logView struct {
	keep, drop   string
	hideRequests bool // requests are not shown
	min          state.Level
	shown        []int // numbers of the entries that pass, ascending
	seen         int   // number of the first entry that was not filtered yet
	cleared      int   // entries before it are not shown

	scrolled bool // it does not follow the end
	top      int  // number of the first entry on the screen, when scrolled
	above    int  // rows of that entry above the screen
	cursor   int  // number of the entry that y copies, when scrolled
	anchor   int  // where a selection starts, or -1
	query    string
}

func newLogView() *logView { return &logView{min: state.LevelDebug, anchor: -1} }

// refresh adds new entries and forgets those that are not kept any more.
func (v *logView) refresh(r *ring) {
	if r.changedFrom < v.seen {
		i, _ := slices.BinarySearch(v.shown, r.changedFrom)
		v.shown, v.seen = v.shown[:i], r.changedFrom
	}
	r.changedFrom, r.frozenBefore = r.next, 0
	if v.scrolled {
		r.frozenBefore = r.next
	}
	for n := max(v.seen, r.first, v.cleared); n < r.next; n++ {
		if v.passes(r.at(n)) {
			v.shown = append(v.shown, n)
		}
	}
	v.seen = r.next
	oldest := max(r.first, v.cleared)
	if i, _ := slices.BinarySearch(v.shown, oldest); i > 0 {
		v.shown = v.shown[i:]
	}
	v.top, v.cursor = max(v.top, oldest), max(v.cursor, oldest)
}

// refilter filters all entries again, because the filter changed.
func (v *logView) refilter(r *ring) {
	v.shown, v.seen = nil, 0
	v.refresh(r)
}

func (v *logView) passes(e *entry) bool {
	switch {
	case e.replaced:
		return false
	case e.mark:
		return true
	case e.level < v.min, e.access && v.hideRequests:
		return false
	case v.keep != "" && !contains(e.text, v.keep):
		return false
	case v.drop != "" && contains(e.text, v.drop):
		return false
	}
	return true
}

// contains reports whether text contains a query. Case matters only if the query has
// capitals.
func contains(text, query string) bool {
	if strings.ContainsFunc(query, unicode.IsUpper) {
		return strings.Contains(text, query)
	}
	return strings.Contains(strings.ToLower(text), query)
}

// index returns the index of an entry among those shown, or of the next one.
func (v *logView) index(n int) int {
	i, _ := slices.BinarySearch(v.shown, n)
	return max(0, min(i, len(v.shown)-1))
}

// follow goes to the end and stays there.
func (v *logView) follow() { v.scrolled, v.anchor = false, -1 }

// matches returns the indexes of the entries that contain the query.
func (v *logView) matches(r *ring) (all []int) {
	if v.query == "" {
		return nil
	}
	for i, n := range v.shown {
		if contains(r.at(n).text, v.query) {
			all = append(all, i)
		}
	}
	return all
}

// seek moves the cursor to the next match in a direction, beyond the end to the
// beginning. With stay, the entry at the cursor counts too.
func (v *logView) seek(r *ring, forward, stay bool, s screenful) bool {
	hits := v.matches(r)
	if len(hits) == 0 {
		return false
	}
	v.stopFollowing(s)
	at := v.index(v.cursor)
	pick := hits[0]
	if forward {
		for _, h := range hits {
			if h > at || stay && h == at {
				pick = h
				break
			}
		}
	} else {
		pick = hits[len(hits)-1]
		for _, h := range slices.Backward(hits) {
			if h < at || stay && h == at {
				pick = h
				break
			}
		}
	}
	v.goTo(pick, s)
	return true
}

// selectedText returns the lines that y copies.
func (v *logView) selectedText(r *ring) string {
	if len(v.shown) == 0 {
		return ""
	}
	from := v.index(v.cursor)
	if !v.scrolled {
		from = len(v.shown) - 1
	}
	to := from
	if v.anchor >= 0 {
		from, to = min(from, v.index(v.anchor)), max(from, v.index(v.anchor))
	}
	var text strings.Builder
	for _, n := range v.shown[from : to+1] {
		text.WriteString(clean(r.at(n).text) + "\n")
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// logPane draws a log.
type logPane struct {
	look    look
	view    *logView
	ring    *ring
	merged  bool
	wrap    bool
	times   bool
	focused bool
	empty   string // shown if the log is empty
}

// render returns h lines of w cells.
func (p logPane) render(w, h int) []string {
	if h <= 0 {
		return nil
	}
	var rows []string
	if len(p.view.shown) > 0 {
		first, above, last := p.view.window(p.screenful(w, h))
		for _, n := range p.view.shown[first : last+1] {
			rows = append(rows, p.lines(n, w)...)
		}
		rows = rows[above:min(above+h, len(rows))]
	}
	if len(rows) == 0 && p.empty != "" {
		rows = append(rows, p.look.dim.Render(left("  "+p.empty, w)))
	}
	for len(rows) < h {
		rows = append(rows, spaces(w))
	}
	return rows
}

// lines returns the rows of one entry.
func (p logPane) lines(n, w int) []string {
	e := p.ring.at(n)
	if e.mark {
		return []string{p.look.dim.Render(left("── "+e.text+" "+strings.Repeat("─", max(0, w)), w))}
	}
	prefix, who, pieces := p.parts(e, w)
	space := w - width(prefix) - width(who)
	selected := p.selected(n)
	rows := make([]string, len(pieces))
	for i, piece := range pieces {
		head, from := spaces(width(prefix)), spaces(width(who))
		if i == 0 {
			head, from = prefix, who
		}
		if selected {
			rows[i] = p.look.mark(left(head+from+piece, w))
			continue
		}
		fill := spaces(space - width(piece))
		rows[i] = p.look.dim.Render(head) + p.look.from.Render(from) + p.coloured(e, piece) + fill
	}
	return rows
}

// parts returns the time of an entry, where it comes from, and its text in pieces.
func (p logPane) parts(e *entry, w int) (prefix, who string, pieces []string) {
	prefix = " "
	if p.times {
		layout := "15:04:05 "
		if w >= 100 {
			layout = "15:04:05.000 "
		}
		prefix += e.at.Local().Format(layout)
	}
	switch {
	case p.merged && (e.page != "" || e.access): // a request may belong to no page
		who = left(clean(e.page), 12) + " "
	case p.merged:
		who = left("tqserver", 12) + " "
	case e.ours:
		who = "tqserver "
	}
	text := clean(e.text)
	if e.ours && e.level >= state.LevelWarn {
		text = e.level.String() + " " + text
	}
	space := w - width(prefix) - width(who)
	if space < 8 {
		prefix, who, space = "", "", w
	}
	if p.wrap {
		return prefix, who, wrapped(text, space)
	}
	return prefix, who, []string{cutRequest(text, e.sign(), space)}
}

// screenful returns how much fits into a pane of w by h cells.
func (p logPane) screenful(w, h int) screenful {
	return screenful{rows: max(1, h), of: func(n int) int {
		e := p.ring.at(n)
		if !p.wrap || e.mark {
			return 1
		}
		_, _, pieces := p.parts(e, w)
		return len(pieces)
	}}
}

func (p logPane) selected(n int) bool {
	v := p.view
	if !v.scrolled || !p.focused {
		return false
	}
	if v.anchor < 0 {
		return n == v.cursor
	}
	return n >= min(v.anchor, v.cursor) && n <= max(v.anchor, v.cursor)
}

// cutRequest shortens text to w cells. In the line of a request it shortens the target,
// because the status follows it.
func cutRequest(text, sign string, w int) string {
	if i := strings.Index(text, sign); sign != "" && i >= 0 && width(text) > w {
		if space := w - width(text[i:]); space >= 8 {
			return cut(text[:i], space) + text[i:]
		}
	}
	return cut(text, w)
}

// sign returns the status as the text has it. No other part of the text is equal to it,
// because it has spaces on both sides.
func (e *entry) sign() string {
	if e.status == 0 {
		return ""
	}
	return fmt.Sprintf(" %d ", e.status)
}

// colouredStatus dims the line of a request, except for a status that is an error.
func (p logPane) colouredStatus(e *entry, text string) string {
	i := strings.Index(text, e.sign())
	if i < 0 || e.level < state.LevelWarn {
		return p.look.dim.Render(text)
	}
	style, end := p.look.warn, i+len(e.sign())
	if e.level >= state.LevelError {
		style = p.look.bad
	}
	return p.look.dim.Render(text[:i+1]) + style.Render(text[i+1:end-1]) + p.look.dim.Render(text[end-1:])
}

// coloured colours text by its level and marks what matches the query.
func (p logPane) coloured(e *entry, text string) string {
	style, found := p.look.plain, p.view.query != "" && contains(text, p.view.query)
	switch level := e.level; {
	case e.access && !found:
		return p.colouredStatus(e, text)
	case e.access:
		style = p.look.dim
	case level >= state.LevelError:
		style = p.look.bad
	case level >= state.LevelWarn:
		style = p.look.warn
	case level < state.LevelInfo:
		style = p.look.dim
	}
	if !found {
		return style.Render(text)
	}
	var b strings.Builder
	for {
		i := indexOf(text, p.view.query)
		if i < 0 {
			break
		}
		end := i + len(p.view.query)
		b.WriteString(style.Render(text[:i]) + p.look.mark(text[i:end]))
		text = text[end:]
	}
	return b.String() + style.Render(text)
}

// indexOf returns the index of a query in text, or -1. It returns -1 too where the text
// in lower case has another length.
func indexOf(text, query string) int {
	if strings.ContainsFunc(query, unicode.IsUpper) {
		return strings.Index(text, query)
	}
	lower := strings.ToLower(text)
	if len(lower) != len(text) {
		return -1
	}
	return strings.Index(lower, query)
}

// facts says how the log is viewed, for the pane's title.
func (p logPane) facts(s screenful) (facts []string) {
	v := p.view
	if v.scrolled && len(v.shown) > 0 {
		_, _, last := v.window(s)
		facts = append(facts, fmt.Sprintf("SCROLLED  %s below", count(len(v.shown)-1-last)))
	} else {
		facts = append(facts, "FOLLOW")
	}
	if p.wrap {
		facts = append(facts, "wrap")
	}
	if v.min > state.LevelDebug {
		facts = append(facts, "level>="+strings.ToLower(v.min.String()))
	}
	if v.keep != "" {
		facts = append(facts, "& "+cut(clean(v.keep), 20))
	}
	if v.hideRequests {
		facts = append(facts, "no requests")
	}
	if v.drop != "" {
		facts = append(facts, "! "+cut(clean(v.drop), 20))
	}
	if v.query != "" {
		hits := p.view.matches(p.ring)
		at, found := slices.BinarySearch(hits, v.index(v.cursor))
		if found && v.scrolled {
			at++
		}
		facts = append(facts, fmt.Sprintf("/ %s %d/%d", cut(clean(v.query), 20), at, len(hits)))
	}
	return append(facts, plural(len(v.shown), "line", "lines"))
}

// rule returns the line above a pane: its title on the left, facts on the right.
func (l look) rule(w int, title, facts string, focused bool) string {
	title = cut(title, w-6)
	facts = cut(facts, factsWidth(w, title))
	if title == "" {
		return l.dim.Render(strings.Repeat("─", max(0, w)))
	}
	line := w - 4 - width(title)
	tail := ""
	if facts != "" {
		line -= 4 + width(facts)
		tail = " " + facts + l.dim.Render(" ──")
	}
	name := title
	if focused {
		name = l.title.Render(title)
	}
	return l.dim.Render("── ") + name + l.dim.Render(" "+strings.Repeat("─", line)) + tail
}

// factsWidth returns the cells that a title leaves for facts.
func factsWidth(w int, title string) int { return w - 12 - width(title) }
