package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"tqserver/internal/state"
)

func (m *model) down() cmd     { return m.move(1) }
func (m *model) up() cmd       { return m.move(-1) }
func (m *model) pageDown() cmd { return m.movePage(1) }
func (m *model) pageUp() cmd   { return m.movePage(-1) }
func (m *model) top() cmd      { return m.move(-keptEntries) }

func (m *model) bottom() cmd {
	if m.focus == inLogs {
		return m.follow()
	}
	return m.move(keptEntries)
}

func (m *model) move(by int) cmd {
	switch m.focus {
	case inLogs:
		v, _ := m.view()
		v.move(by, m.logRows())
	case inBuild:
		return m.stepError(by)
	default:
		m.routes.move(by, m.table())
	}
	return nil
}

// movePage moves by one line less than the focused pane shows.
func (m *model) movePage(pages int) cmd {
	by := pages * max(1, m.layout().focusRows(m.focus)-1)
	if m.focus != inLogs {
		return m.move(by)
	}
	v, _ := m.view()
	v.scroll(by, m.logRows())
	return nil
}

func (m *model) enter() cmd {
	m.full, m.focus, m.zoom, m.logs.merged = true, inLogs, false, false
	return nil
}

// back leaves the innermost level.
func (m *model) back() cmd {
	v, _ := m.view()
	switch {
	case m.focus == inLogs && v.anchor >= 0:
		v.anchor = -1
	case m.focus == inLogs && v.query != "":
		v.query = ""
	case m.zoom:
		m.zoom = false
	case m.full:
		m.full, m.focus = false, inRoutes
	case m.focus == inRoutes && m.routes.filter != "":
		m.routes.filter = ""
	default:
		m.focus = inRoutes
	}
	return nil
}

func (m *model) nextPane() cmd {
	order := []pane{inRoutes, inLogs}
	if _, broken := m.currentError(); broken {
		order = append(order, inBuild)
	}
	m.focus = order[(slices.Index(order, m.focus)+1)%len(order)]
	m.full = false
	return nil
}

func (m *model) focusRoutes() cmd { m.focus, m.full = inRoutes, false; return nil }
func (m *model) focusLogs() cmd   { m.focus = inLogs; return nil }

func (m *model) focusBuild() cmd {
	if _, broken := m.currentError(); !broken {
		return m.showToast("nothing is broken")
	}
	m.focus, m.full = inBuild, false
	return nil
}

func (m *model) restart() cmd    { return m.sendToPage(state.Restart) }
func (m *model) rebuild() cmd    { return m.sendToPage(state.Rebuild) }
func (m *model) start() cmd      { return m.sendToPage(state.Start) }
func (m *model) stop() cmd       { return m.sendToPage(state.Stop) }
func (m *model) kill() cmd       { return m.sendToPage(state.Kill) }
func (m *model) restartAll() cmd { return m.send(state.Restart, "") }
func (m *model) rebuildAll() cmd { return m.send(state.Rebuild, "") }
func (m *model) reload() cmd     { return m.send(state.Reload, "") }

func (m *model) pause() cmd {
	if m.seen.Server.Paused {
		return m.send(state.Resume, "")
	}
	return m.send(state.Pause, "")
}

func (m *model) search() cmd {
	if m.focus == inLogs {
		v, r := m.view()
		rows := m.logRows()
		m.openPrompt("/", v.query, func(text string) {
			v.query = text
			v.seek(r, false, true, rows)
		}, func(text string) cmd {
			if text != "" && len(v.matches(r)) == 0 {
				return m.showToast("not found: " + text)
			}
			return nil
		})
		return nil
	}
	m.focus = inRoutes
	m.openPrompt("filter: ", m.routes.filter, func(text string) { m.routes.filter = text; m.routes.selectShown(m.table()) }, nil)
	return nil
}

func (m *model) nextMatch() cmd     { return m.seekMatch(true) }
func (m *model) previousMatch() cmd { return m.seekMatch(false) }

func (m *model) seekMatch(forward bool) cmd {
	v, r := m.view()
	m.focus = inLogs
	switch {
	case v.query == "":
		return m.showToast(fmt.Sprintf("no search yet: press %s first", m.keys.firstKey("search")))
	case !v.seek(r, forward, false, m.logRows()):
		return m.showToast("not found: " + v.query)
	}
	return nil
}

func (m *model) keep() cmd {
	v, r := m.view()
	m.openPrompt("keep lines with: ", v.keep, func(text string) { v.keep = text; v.refilter(r) }, nil)
	return nil
}

func (m *model) drop() cmd {
	v, r := m.view()
	m.openPrompt("drop lines with: ", v.drop, func(text string) { v.drop = text; v.refilter(r) }, nil)
	return nil
}

func (m *model) requests() cmd {
	v, r := m.view()
	v.hideRequests = !v.hideRequests
	v.refilter(r)
	return nil
}

func (m *model) level() cmd {
	v, r := m.view()
	next := map[state.Level]state.Level{state.LevelDebug: state.LevelInfo, state.LevelInfo: state.LevelWarn, state.LevelWarn: state.LevelError}
	to, ok := next[v.min]
	if !ok {
		to = state.LevelDebug
	}
	v.min = to
	v.refilter(r)
	return nil
}

func (m *model) follow() cmd {
	v, _ := m.view()
	if v.scrolled {
		v.follow()
	} else {
		v.stopFollowing(m.logRows())
	}
	return nil
}

func (m *model) wrap() cmd  { m.logs.wrap = !m.logs.wrap; return nil }
func (m *model) times() cmd { m.logs.times = !m.logs.times; return nil }

func (m *model) mark() cmd {
	page := m.shownLog()
	m.logs.store.of(page).add(entry{at: m.now, page: page, text: m.now.Format("15:04:05"), mark: true})
	return nil
}

func (m *model) clear() cmd {
	v, r := m.view()
	v.cleared = r.next
	v.follow()
	v.refilter(r)
	return nil
}

func (m *model) allLogs() cmd {
	m.logs.merged = !m.logs.merged
	return nil
}

func (m *model) selectLines() cmd {
	v, _ := m.view()
	m.focus = inLogs
	if v.anchor >= 0 {
		v.anchor = -1
		return nil
	}
	v.stopFollowing(m.logRows())
	if v.scrolled {
		v.anchor = v.cursor
	}
	return nil
}

func (m *model) zoomPane() cmd { m.zoom = !m.zoom; return nil }

func (m *model) copy() cmd {
	text, what := "", "the line"
	switch m.focus {
	case inLogs:
		v, r := m.view()
		text = v.selectedText(r)
		if n := strings.Count(text, "\n") + 1; n > 1 {
			what = plural(n, "line", "lines")
		}
		v.anchor = -1
	case inBuild:
		text, what = errorText(m.rows(), m.errors.route), "the build error"
	default:
		if r, ok := m.row(); ok {
			text, what = m.url(r.Route), "the URL"
		}
	}
	if text == "" {
		return m.showToast("there is nothing to copy")
	}
	return m.toClipboard(text, what)
}

func (m *model) nextError() cmd     { return m.stepError(1) }
func (m *model) previousError() cmd { return m.stepError(-1) }

// stepError shows another error, which may be of another page.
func (m *model) stepError(by int) cmd {
	now, broken := m.currentError()
	if !broken {
		return m.showToast("nothing is broken")
	}
	all := pageErrors(m.rows())
	at := slices.IndexFunc(all, func(t pageError) bool { return t.route == now.route && t.of == now.of })
	to := all[max(0, min(at+by, len(all)-1))]
	if to.route != now.route {
		m.routes.selected = to.route
	}
	m.errors.route, m.errors.index = to.route, to.of-1
	return nil
}

func (m *model) sortRoutes() cmd {
	m.routes.sort = (m.routes.sort + 1) % len(sortings)
	return nil
}

func (m *model) toggleMouse() cmd {
	m.mouse = !m.mouse
	if m.mouse {
		return tea.EnableMouseCellMotion
	}
	return tea.DisableMouse
}

// handleMouse handles the mouse.
func (m *model) handleMouse(msg tea.MouseMsg) cmd {
	if m.overlay != nil || m.prompt != nil || msg.Action != tea.MouseActionPress {
		return nil
	}
	s := m.layout()
	switch msg.Button {
	case tea.MouseButtonWheelUp, tea.MouseButtonWheelDown:
		by := 3
		if msg.Button == tea.MouseButtonWheelUp {
			by = -3
		}
		if s.logs.holds(msg.X, msg.Y) {
			v, _ := m.view()
			v.scroll(by, m.logRows())
		} else if s.routes.holds(msg.X, msg.Y) {
			m.focus = inRoutes
			return m.move(by / 3)
		}
	case tea.MouseButtonLeft:
		switch {
		case s.routes.holds(msg.X, msg.Y):
			m.focus = inRoutes
			p := m.routesPane()
			i := p.first(s.routes.h-1) + msg.Y - s.routes.y - 1
			if i >= 0 && i < len(p.rows) {
				m.routes.selected = p.rows[i].Route
			}
		case s.logs.holds(msg.X, msg.Y):
			m.focus = inLogs
		case s.build.holds(msg.X, msg.Y):
			m.focus = inBuild
		}
	}
	return nil
}

// quit ends the server in order. It asks first if requests are under way.
func (m *model) quit() cmd {
	if m.shuttingDown {
		return m.showToast(fmt.Sprintf("already shutting down; %s stops at once", m.keys.firstKey("quit-now")))
	}
	if m.inFlight() > 0 {
		m.overlay = quitDialog{}
		return nil
	}
	return m.shutDown()
}

func (m *model) shutDown() cmd {
	m.shuttingDown = true
	return m.send(state.Shutdown, "")
}

func (m *model) quitNow() cmd {
	m.atOnce = true
	return tea.Quit
}

// interrupt is ctrl+c: it quits, and the second time at once.
func (m *model) interrupt() cmd {
	if _, asking := m.overlay.(quitDialog); asking || m.shuttingDown {
		return m.quitNow()
	}
	m.overlay, m.prompt = nil, nil
	return m.quit()
}

func (m *model) suspend() cmd { return tea.Suspend }
func (m *model) redraw() cmd  { return tea.ClearScreen }
