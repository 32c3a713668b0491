package tui

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"tqserver/internal/state"
)

// View draws the screen. It changes nothing.
func (m *model) View() string {
	if m.width <= 0 || m.height <= 0 {
		return ""
	}
	lines := m.lines()
	for i, line := range lines {
		if width(line) > m.width {
			lines[i] = cut(line, m.width)
		}
	}
	lines = lines[:min(len(lines), m.height)]
	for i, line := range lines {
		if m.look.ascii {
			line = ascii(line)
		}
		lines[i] = contained(line, m.width)
	}
	return strings.Join(lines, "\n")
}

// contained returns a row that fills one row of the terminal, however wide the terminal
// thinks its characters are: it does not wrap, and it erases what is behind it.
func contained(row string, w int) string {
	if plain(colours.ReplaceAllString(row, "")) {
		return row // Bubble Tea erases what is behind it
	}
	if text := strings.TrimRight(row, " "); width(text) < w {
		return wrapOff + text + eraseLine + wrapOn
	}
	return wrapOff + eraseLine + row + wrapOn // at the end it would erase the last column
}

const (
	wrapOff, wrapOn = "\x1b[?7l", "\x1b[?7h"
	eraseLine       = "\x1b[K"
)

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// toColumn moves the cursor to a column of the row.
func toColumn(n int) string { return fmt.Sprintf("%s\x1b[%dG", eraseLine, n+1) }

func (m *model) lines() []string {
	if m.width < leastWidth || m.height < leastHeight {
		return []string{m.small()}
	}
	if m.overlay != nil {
		return m.overlaid()
	}
	s := m.layout()
	canvas := make([]string, m.height)
	put := func(y int, lines ...string) {
		for i, line := range lines {
			if y+i < len(canvas) {
				canvas[y+i] = line
			}
		}
	}
	if s.headers > 0 {
		put(0, m.header())
	}
	if s.headers > 1 {
		put(1, m.look.bad.Render(left(" configuration: "+oneLine(m.seen.Server.ConfigError), m.width)))
	}
	beside := s.logs.h > 0 && s.logs.x > 0
	if s.routes.h > 0 {
		if s.titles {
			put(s.routes.y-1, m.routesTitle(s.routes.w))
		}
		put(s.routes.y, m.routesPane().render(s.routes.w, s.routes.h)...)
	}
	if s.logs.h > 0 {
		lines := m.logPane().render(s.logs.w, s.logs.h)
		if s.titles {
			lines = append([]string{m.logTitle(s.logs.w)}, lines...)
			s.logs.y--
		}
		for i, line := range lines {
			if beside {
				line = canvas[s.logs.y+i] + toColumn(s.logs.x-1) + m.look.dim.Render("│") + toColumn(s.logs.x) + line
			}
			put(s.logs.y+i, line)
		}
	}
	if s.build.h > 0 {
		m.drawBuild(s, put)
	}
	if s.footers > 0 {
		put(m.height-s.footers-1, m.look.rule(m.width, "", "", false))
		put(m.height-s.footers, m.footer(s.footers)...)
	}
	return canvas
}

func (m *model) drawBuild(s layout, put func(int, ...string)) {
	t, broken := m.currentError()
	if !broken {
		put(s.build.y, m.look.dim.Render("  nothing is broken"))
		return
	}
	p := buildPane{look: m.look, err: t, source: m.errors.source}
	title, facts := p.title()
	if s.build.h == 1 {
		put(s.build.y, m.look.bad.Render(left("▲ "+clean(t.route)+"  "+oneLine(t.problem.String()), m.width)))
		return
	}
	if s.titles {
		title = "[3] " + title
		for i, a := range []action{"edit", "copy", "rebuild"} {
			gap := "  "
			if i == 0 && facts != "" {
				gap = "   "
			}
			key := gap + m.keys.firstKey(a) + " " + string(a)
			if width(facts+key) > factsWidth(m.width, title) || i > 0 && m.width < wideFooter {
				break
			}
			facts += key
		}
		put(s.build.y-1, m.look.rule(m.width, title, strings.TrimSpace(facts), m.focus == inBuild))
	}
	put(s.build.y, p.render(s.build.w, s.build.h)...)
}

// small returns the only line of a screen that is too small.
func (m *model) small() string {
	_, tally := m.tally()
	return cut(fmt.Sprintf("tqserver %s · enlarge to %dx%d", strings.Join(tally, " · "), leastWidth, leastHeight), m.width)
}

// tally counts the pages: those that serve, those under way and those that are broken.
// The short form leaves out those under way.
func (m *model) tally() (all, short []string) {
	n := make(map[state.Phase]int)
	first, serving := 0, 0
	for _, p := range m.seen.Pages {
		n[p.Phase]++
		switch {
		case p.Phase == state.Asleep:
		case p.ServingBuild > 0:
			serving++
		case p.Phase == state.Building:
			first++
		}
	}
	all = []string{fmt.Sprintf("%d/%d serving", serving, len(m.seen.Pages))}
	short = []string{fmt.Sprintf("%d/%d up", serving, len(m.seen.Pages))}
	if first > 1 {
		all = append(all, fmt.Sprintf("building %d/%d", len(m.seen.Pages)-first+1, len(m.seen.Pages)))
	} else if n[state.Building] > 0 {
		all = append(all, fmt.Sprintf("%d building", n[state.Building]))
	}
	if n[state.Starting] > 0 {
		all = append(all, fmt.Sprintf("%d starting", n[state.Starting]))
	}
	if n[state.Asleep] > 0 {
		all = append(all, fmt.Sprintf("%d asleep", n[state.Asleep]))
		short = append(short, fmt.Sprintf("%d asleep", n[state.Asleep]))
	}
	for _, bad := range []struct {
		n          int
		word, less string
	}{
		{n[state.Failed] + n[state.Conflict], "build FAILED", "FAILED"}, {n[state.Crashed], "crashed", "crashed"}, {n[state.Waiting], "no port", "no port"},
	} {
		if bad.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", bad.n, bad.word))
			short = append(short, fmt.Sprintf("%d %s", bad.n, bad.less))
		}
	}
	return all, short
}

// header returns the first line.
func (m *model) header() string {
	if m.seen.Server.Stopping {
		return m.look.warn.Render(left(" tqserver  "+m.shutdownText(), m.width))
	}
	parts, short := m.tally()
	title, at := " tqserver  "+m.projectName(), clean(m.seen.Server.URL())
	if m.seen.Server.Paused {
		parts = append(parts, "PAUSED")
	}
	var used int64
	for _, l := range m.seen.Loads {
		used += l.Memory
	}
	if used > 0 && m.width >= wideFooter {
		parts = append(parts, "rss "+memory(used))
	}
	if m.width < wideFooter {
		_, port, _ := strings.Cut(strings.TrimPrefix(at, "http://"), ":")
		at = ":" + port
		if port == "" {
			at = ""
		}
	}
	head, tail := title+"   "+at, strings.Join(parts, "  ")
	if width(head)+width(tail)+3 > m.width {
		head = strings.TrimSuffix(" tqserver "+at, " ")
		parts = short
		tail = strings.Join(parts, "  ")
	}
	gap := m.width - width(head) - width(tail) - 1
	if gap < 2 {
		return m.look.bold.Render(cut(" "+tail, m.width))
	}
	between := spaces(gap)
	if !plain(head) {
		between += toColumn(width(head) + gap)
	}
	return m.look.bold.Render(head) + between + m.paint(parts) + " "
}

// paint colours the counts of the header.
func (m *model) paint(parts []string) string {
	painted := make([]string, len(parts))
	for i, p := range parts {
		switch {
		case strings.HasSuffix(p, "FAILED"), strings.HasSuffix(p, "crashed"):
			p = m.look.bad.Render(p)
		case p == "PAUSED", strings.HasSuffix(p, "no port"):
			p = m.look.warn.Render(p)
		case strings.Contains(p, "building"), strings.Contains(p, "starting"):
			p = m.look.busy.Render(p)
		}
		painted[i] = p
	}
	return strings.Join(painted, "  ")
}

// shutdownText says what the shutdown waits for.
func (m *model) shutdownText() string {
	n := m.inFlight()
	if n == 0 {
		return "shutting down: stopping the workers"
	}
	leftOver := max(0, m.seen.Server.StopBy.Sub(m.now)).Round(time.Second)
	return fmt.Sprintf("shutting down: %s under way, %s left · %s to stop now", plural(n, "request", "requests"), leftOver, m.keys.firstKey("quit-now"))
}

func (m *model) routesTitle(w int) string {
	facts := "sort: " + sortings[m.routes.sort].name
	n := len(m.table())
	if m.routes.filter != "" {
		facts += "  / " + cut(clean(m.routes.filter), 20)
	}
	return m.look.rule(w, "[1] Routes", fmt.Sprintf("%s  (%d)", facts, n), m.focus == inRoutes)
}

func (m *model) logTitle(w int) string {
	name := "all pages"
	if page := m.shownLog(); page != "" {
		name = clean(page)
	}
	title := "[2] Logs  " + name
	p := m.logPane()
	facts := strings.Join(p.facts(m.logRows()), "  ")
	if file := m.seen.Pages[m.shownLog()].Log; file != "" && width(title)+2+width(file)+width(facts)+10 <= w {
		title += "  " + clean(file)
	}
	return m.look.rule(w, title, facts, m.focus == inLogs)
}

func (m *model) routesPane() routesPane {
	empty := "no pages yet: save a Go program as pages/index/main.go"
	if m.routes.filter != "" {
		empty = "no route contains " + clean(m.routes.filter) + "; esc shows all"
	}
	return routesPane{look: m.look, rows: m.table(), selected: m.routes.selected, now: m.now, empty: empty}
}

func (m *model) logPane() logPane {
	v, r := m.logs.shown(m.shownLog())
	empty := "no output yet"
	if len(v.shown) == 0 && r.first < r.next {
		empty = "no line passes the filters"
	}
	return logPane{look: m.look, view: v, ring: r, merged: m.logs.merged, wrap: m.logs.wrap, times: m.logs.times, focused: m.focus == inLogs, empty: empty}
}

// logRows returns how much of the log the screen shows.
func (m *model) logRows() screenful {
	at := m.layout().logs
	return m.logPane().screenful(at.w, at.h)
}

// footer returns the prompt, the toast, or as many keys as fit.
func (m *model) footer(h int) []string {
	switch {
	case m.prompt != nil:
		return fill([]string{m.prompt.render(m.width)}, h, m.width)
	case m.toast.text != "":
		return fill([]string{m.look.warn.Render(left(" "+oneLine(m.toast.text), m.width))}, h, m.width)
	}
	words, last := m.hints()
	for len(last) > 1 && width(strings.Join(last, "")) > m.width {
		last = last[1:]
	}
	stays := strings.Join(last, "") // on one line
	lines := flow(append(words, stays), m.width)
	for len(lines) > h && len(words) > 0 {
		words = words[:len(words)-1]
		lines = flow(append(words[:len(words):len(words)], stays), m.width)
	}
	for i, l := range lines {
		lines[i] = m.look.dim.Render(left(l, m.width))
	}
	return fill(lines, h, m.width)
}

// flow distributes words over lines of w cells.
func flow(words []string, w int) (lines []string) {
	used := w
	for _, word := range words {
		if used += width(word); used > w {
			lines = append(lines, "")
			used = width(word)
		}
		lines[len(lines)-1] += word
	}
	return lines
}

// hints returns the keys for the footer: first those that the selected page may need,
// then those of the focused pane, the least important last. The keys in last are
// dropped last.
func (m *model) hints() (words, last []string) {
	hint := func(b binding) string {
		key := b.keys[0]
		if b.action == "down" {
			key += "/" + m.keys.firstKey("up")
		}
		return " " + key + " " + b.short + " "
	}
	urgent := m.urgent()
	for _, b := range m.keys.table {
		switch {
		case len(b.keys) == 0:
		case slices.Contains(urgent, b.action):
			words = slices.Insert(words, 0, hint(b))
		case b.short == "" || b.where&m.focus == 0 || b.action == "build":
		case b.action == "help" || b.action == "quit":
			last = append(last, hint(b))
		default:
			words = append(words, hint(b))
		}
	}
	return words, last
}

// urgent returns the actions that the selected page may need.
func (m *model) urgent() (all []action) {
	r, ok := m.row()
	if ok && r.Phase == state.Stopped {
		all = append(all, "start")
	}
	if ok && r.broken() {
		all = append(all, "edit")
		if m.layout().build.h == 0 {
			all = append(all, "build")
		}
	}
	return all
}

func fill(lines []string, h, w int) []string {
	for len(lines) < h {
		lines = append(lines, spaces(w))
	}
	return lines[:h]
}
