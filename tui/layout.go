package tui

// box is the place of a pane on the screen, without its title.
type box struct{ x, y, w, h int }

func (b box) holds(x, y int) bool { return x >= b.x && x < b.x+b.w && y >= b.y && y < b.y+b.h }

// layout is where everything is on the screen. A box without height is not shown.
type layout struct {
	titles              bool // panes have one
	headers             int
	routes, logs, build box
	footers             int
}

// focusRows returns how many lines a pane shows.
func (l layout) focusRows(p pane) int {
	switch p {
	case inLogs:
		return l.logs.h
	case inBuild:
		return l.build.h
	}
	return l.routes.h - 1
}

// The sizes at which the layout changes.
const (
	leastWidth, leastHeight = 40, 10
	onePane                 = 16 // lower than this
	lowScreen               = 24 // lower than this the Build pane is one line
	besideWidth             = 160
	narrow, tall            = 84, 46 // the logs get more
	wideFooter              = 100
)

// layout lays out the panes.
func (m *model) layout() layout {
	w, h := m.width, m.height
	l := layout{headers: 1, footers: 1, titles: true}
	if m.seen.Server.ConfigError != "" {
		l.headers++
	}
	if w >= wideFooter && h >= lowScreen {
		l.footers = 2
	}
	whole := box{0, l.headers, w, h - l.headers - l.footers - 1}
	if m.zoom {
		whole = box{0, 0, w, h}
		l.headers, l.footers, l.titles = 0, 0, false
	}
	if m.zoom || m.full || h < onePane {
		l.placeOne(m.focus, whole)
		return l
	}
	_, broken := m.currentError()
	l.placeAll(whole, h, len(m.table()), broken)
	return l
}

// placeOne gives all to the focused pane.
func (l *layout) placeOne(focus pane, whole box) {
	if l.titles {
		whole.y, whole.h = whole.y+1, whole.h-1
	}
	switch focus {
	case inLogs:
		l.logs = whole
	case inBuild:
		l.build = whole
	default:
		l.routes = whole
	}
}

// placeAll places the panes on a screen of h lines: Build at the bottom if something is
// broken, the others above it, side by side if there is width for both.
func (l *layout) placeAll(whole box, h, rows int, broken bool) {
	w, body := whole.w, whole.h
	switch {
	case !broken:
	case h < lowScreen:
		body--
		l.build = box{0, whole.y + body, w, 1}
	default:
		lines := min(8, max(2, whole.h/5))
		body -= lines + 1
		l.build = box{0, whole.y + body + 1, w, lines}
	}
	if w >= besideWidth {
		half := w * 11 / 20
		l.routes = box{0, whole.y + 1, half, body - 1}
		l.logs = box{half + 1, whole.y + 1, w - half - 1, body - 1}
		return
	}
	most := (body - 2) / 2
	if w <= narrow && h >= tall {
		most = (body - 2) / 3
	}
	routes := min(rows+1, max(4, most))
	if rows == 0 {
		routes = 2
	}
	l.routes = box{0, whole.y + 1, w, routes}
	l.logs = box{0, whole.y + 1 + routes + 1, w, body - routes - 2}
}
