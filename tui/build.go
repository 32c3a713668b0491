package tui

import (
	"fmt"
	"slices"
	"strings"

	"tqserver/internal/project"
	"tqserver/internal/state"
)

// pageError is one error of a page: a message of the compiler, or its trouble.
type pageError struct {
	route   string
	problem state.Problem
	build   int // that has it
	serving int // build that serves
	of, all int // it is the first of 3, for example
	kind    state.TroubleKind
	output  string // last lines of the worker
}

// pageErrors returns the errors of all pages, page by page.
func pageErrors(rows []row) (all []pageError) {
	for _, r := range rows {
		if !r.broken() {
			continue
		}
		problems := r.Build.Problems
		kind := state.TroubleBuild
		if len(problems) == 0 {
			kind = r.Trouble.Kind
			problems = []state.Problem{{Message: r.Trouble.Text}}
		}
		for i, p := range problems {
			all = append(all, pageError{route: r.Route, problem: p, build: r.Build.Number, serving: r.ServingBuild, of: i + 1, all: len(problems), kind: kind, output: r.Trouble.LastOutput})
		}
	}
	return all
}

// errorList is which error the Build pane shows, and the source around it.
type errorList struct {
	route  string // of the page
	index  int    // of its errors
	source excerpt
}

// current returns the error to show: one of the selected page if it has any, or else
// of the first page that has.
func (l errorList) current(all []pageError, selected string) (pageError, bool) {
	if len(all) == 0 {
		return pageError{}, false
	}
	route := all[0].route
	if slices.ContainsFunc(all, func(e pageError) bool { return e.route == selected }) {
		route = selected
	}
	mine := slices.DeleteFunc(all, func(e pageError) bool { return e.route != route })
	if route != l.route {
		return mine[0], true
	}
	return mine[min(l.index, len(mine)-1)], true
}

// excerptKey identifies an excerpt: its place, and the build that it belongs to.
type excerptKey struct {
	file  string
	line  int
	build int
}

func (t pageError) key() excerptKey {
	return excerptKey{t.problem.File, t.problem.Line, t.build}
}

// excerpt is the source around a line.
type excerpt struct {
	key   excerptKey
	lines project.Lines
}

// buildPane draws an error.
type buildPane struct {
	look   look
	err    pageError
	source excerpt
}

// troubleTitles say what becomes of a build.
var troubleTitles = map[state.TroubleKind]string{
	state.TroubleStart:    "does not start",
	state.TroubleCrash:    "keeps crashing",
	state.TroubleRollback: "was rolled back",
}

// title returns the title of the pane, and facts for the other end of its line.
func (p buildPane) title() (title, facts string) {
	t := p.err
	title = "Build  " + clean(t.route)
	switch {
	case t.kind == state.TroubleConflict:
		title += "  CONFLICT"
	case t.kind != state.TroubleBuild:
		title += fmt.Sprintf("  #%d %s", t.build, troubleTitles[t.kind])
	case t.all == 1:
		title += fmt.Sprintf("  #%d FAILED  1 error", t.build)
	default:
		title += fmt.Sprintf("  #%d FAILED  error %d of %d", t.build, t.of, t.all)
	}
	if t.serving > 0 {
		facts = fmt.Sprintf("serving #%d", t.serving)
	}
	return title, facts
}

// render returns h lines of w cells.
func (p buildPane) render(w, h int) []string {
	var rows []string
	add := func(text string) { rows = append(rows, left(text, w)) }
	message := strings.Split(p.err.problem.String(), "\n")
	for i, line := range message {
		pieces := wrapped(clean(line), max(1, w-2))
		if h < 4 {
			pieces = []string{cut(clean(line), w-2)}
		}
		for _, piece := range pieces {
			if i == 0 {
				rows = append(rows, p.look.bad.Render(left(" "+piece, w)))
			} else {
				add(" " + piece)
			}
		}
	}
	rows = append(rows, p.excerpt(w, h-len(rows))...)
	if output := strings.TrimRight(p.err.output, "\n"); output != "" {
		lines := strings.Split(output, "\n")
		for _, line := range lines[max(0, len(lines)-max(1, h-len(rows))):] {
			add("   | " + clean(line))
		}
	}
	for len(rows) < h {
		add("")
	}
	return rows[:max(0, h)]
}

// excerpt returns the source in h lines: the line itself, and its neighbours if there
// is space for them.
func (p buildPane) excerpt(w, h int) (rows []string) {
	key := p.source.key
	if key != p.err.key() || len(p.source.lines.Text) == 0 || h <= 0 {
		return nil
	}
	at := key.line - p.source.lines.First
	if at >= len(p.source.lines.Text) {
		return nil
	}
	from, to := at, at+1
	if h >= 3 {
		from = max(0, at-1)
	}
	if h >= 5 {
		from = max(0, at-2)
	}
	caret := h >= 2 && p.err.problem.Column > 0
	used := to - from
	if caret {
		used++
	}
	to = min(len(p.source.lines.Text), to+max(0, h-used))
	for i := from; i < to; i++ {
		line := source(p.source.lines.Text[i])
		mark := "    "
		if i == at {
			mark = "  > "
		}
		text := left(fmt.Sprintf("%s%4d | %s", mark, p.source.lines.First+i, line), w)
		if i != at {
			rows = append(rows, p.look.dim.Render(text))
			continue
		}
		rows = append(rows, p.look.bold.Render(text))
		if caret {
			gutter := spaces(8) + " | " + spaces(p.column())
			rows = append(rows, p.look.dim.Render(cut(gutter, w))+p.look.bad.Render(left("^", w-width(gutter))))
		}
	}
	return rows
}

// column returns the cell of the caret. The compiler counts bytes of the source, so a
// tab is one.
func (p buildPane) column() int {
	t := p.err.problem
	line := p.source.lines.Text[t.Line-p.source.lines.First]
	return width(source(line[:min(t.Column-1, len(line))]))
}

// source returns a line of a program with four spaces for each tab.
func source(line string) string { return clean(strings.ReplaceAll(line, "\t", "    ")) }

// errorText returns all errors of a page, for copying.
func errorText(rows []row, route string) string {
	var text []string
	for _, t := range pageErrors(rows) {
		if t.route == route {
			text = append(text, t.problem.String())
			if t.of == t.all && t.output != "" {
				text = append(text, t.output)
			}
		}
	}
	return strings.Join(text, "\n")
}
