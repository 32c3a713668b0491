package tui

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tqserver/internal/project"
	"tqserver/internal/state"
)

type cmd = tea.Cmd

// pane is a part of the screen, or a set of them.
type pane int

const (
	inRoutes pane = 1 << iota
	inLogs
	inBuild
	everywhere = inRoutes | inLogs | inBuild
)

// name returns the name of a pane; a set has none.
func (p pane) name() string {
	return map[pane]string{inRoutes: "Routes", inLogs: "Logs", inBuild: "Build"}[p]
}

// model is the one model of the program. Each pane has its part of it; View draws
// what follows from it.
type model struct {
	ctx   context.Context
	src   state.Source
	frame time.Duration // the shortest time between two updates
	keys  keymap
	look  look
	out   *terminal

	width, height int
	now           time.Time // of the newest message

	seen   state.Mirror
	past   past
	routes routeList
	logs   logs
	errors errorList

	focus   pane
	zoom    bool
	full    bool // the log alone, with its borders
	mouse   bool
	overlay overlay
	prompt  *prompt
	toast   toast
	ticking bool

	shuttingDown bool // the user asked for the end
	atOnce       bool // and does not wait for it
	failure      error
}

func newModel(ctx context.Context, src state.Source, keys keymap, look look, frame time.Duration, out *terminal) *model {
	return &model{
		ctx: ctx, src: src, keys: keys, look: look, frame: frame, out: out, now: time.Now(), focus: inRoutes,
		seen: state.Mirror{Cursor: state.Cursor{Seq: state.Beginning}}, past: newPast(), logs: newLogs(),
	}
}

// Messages.
type (
	updateMsg struct {
		update state.Update
		err    error
	}
	tickMsg        struct{}
	expireToastMsg int
	toastMsg       string
	sourceMsg      excerpt
	endMsg         struct{}
	failureMsg     struct{ err error }
)

func (m *model) Init() cmd {
	return tea.Batch(m.next(), func() tea.Msg { <-m.ctx.Done(); return endMsg{} })
}

// next waits for the next update, at most once a frame.
func (m *model) next() cmd {
	after, pause, ctx, src := m.seen.Cursor, m.frame, m.ctx, m.src
	return guarded(func() tea.Msg {
		frame := time.NewTimer(pause)
		defer frame.Stop()
		select {
		case <-frame.C:
		case <-ctx.Done():
		}
		u, err := src.Next(ctx, after)
		return updateMsg{u, err}
	})
}

// guarded turns a panic of a command into a message. Bubble Tea would print it while
// the screen is still there.
func guarded(c cmd) cmd {
	return func() (msg tea.Msg) {
		defer func() {
			if r := recover(); r != nil {
				msg = failureMsg{fmt.Errorf("panic: %v\n\n%s", r, debug.Stack())}
			}
		}()
		return c()
	}
}

func (m *model) Update(msg tea.Msg) (tea.Model, cmd) {
	m.now = time.Now()
	var c cmd
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyMsg:
		m.routes.touched = true
		c = m.handleKeys(msg)
	case tea.MouseMsg:
		m.routes.touched = true
		c = m.handleMouse(msg)
	case updateMsg:
		if msg.err != nil {
			return m, nil // endMsg follows
		}
		m.apply(msg.update)
		c = m.next()
	case tickMsg:
		m.ticking = false
	case toastMsg:
		m.showToast(string(msg))
	case expireToastMsg:
		if int(msg) == m.toast.number {
			m.toast.text = ""
		}
	case sourceMsg:
		m.errors.source = excerpt(msg)
	case urlsMsg:
		m.overlay = &text{title: msg.title, lines: func(*model) []string { return msg.lines }}
	case editorMsg:
		c = tea.ExecProcess(msg.program, msg.done)
	case endMsg:
		return m, tea.Quit
	case failureMsg:
		m.failure = msg.err
		return m, tea.Quit
	}
	m.refresh()
	return m, tea.Batch(c, m.tick(), m.expireToast(), m.fetchSource())
}

// refresh brings up to date what View draws, so that View changes nothing.
func (m *model) refresh() {
	m.view()
	e, _ := m.currentError()
	m.errors.route, m.errors.index = e.route, max(0, e.of-1)
}

// apply adds an update to what is known.
func (m *model) apply(u state.Update) {
	m.seen.Apply(u)
	if u.Snapshot != nil {
		for _, p := range u.Snapshot.Pages {
			m.past.add(p, m.now)
		}
	}
	for _, e := range u.Events {
		if e.Page != nil && !e.Removed {
			m.past.add(*e.Page, e.Time)
		}
	}
	m.logs.store.addUpdate(u)
	m.routes.keepSelection(slices.Sorted(maps.Keys(m.seen.Pages)))
	m.refresh()
}

// rows returns all pages, by route.
func (m *model) rows() []row {
	rows := make([]row, 0, len(m.seen.Pages))
	for _, route := range slices.Sorted(maps.Keys(m.seen.Pages)) {
		rows = append(rows, row{m.seen.Pages[route], m.seen.Loads[route]})
	}
	return rows
}

// table returns the rows that the table shows, in its order.
func (m *model) table() []row { return m.routes.shown(m.rows()) }

// row returns the selected page.
func (m *model) row() (row, bool) {
	p, ok := m.seen.Pages[m.routes.selected]
	return row{p, m.seen.Loads[m.routes.selected]}, ok
}

// shownLog returns the page whose log is shown, empty for all.
func (m *model) shownLog() string {
	if m.logs.merged {
		return ""
	}
	return m.routes.selected
}

// view returns the shown log and how it is viewed, up to date.
func (m *model) view() (*logView, *ring) { return m.logs.refreshed(m.shownLog()) }

// currentError returns the error that the Build pane shows: one of the selected page
// if it has any, or else of the first page that has.
func (m *model) currentError() (pageError, bool) {
	return m.errors.current(pageErrors(m.rows()), m.routes.selected)
}

// fetchSource reads the source that the Build pane shows.
func (m *model) fetchSource() cmd {
	t, ok := m.currentError()
	if !ok || t.problem.File == "" || t.problem.Line == 0 || t.key() == m.errors.source.key {
		return nil
	}
	root, key := m.seen.Server.Root, t.key()
	m.errors.source = excerpt{key: key}
	return guarded(func() tea.Msg { return sourceMsg{key, project.Excerpt(root, key.file, key.line)} })
}

// tick draws again in a moment while a time on the screen runs: that of a build, of
// the pause of a crashed page, or until the end.
func (m *model) tick() cmd {
	if m.ticking || m.width == 0 {
		return nil
	}
	pause := time.Duration(0)
	for _, p := range m.seen.Pages {
		switch {
		case p.Phase == state.Building:
			pause = 100 * time.Millisecond
		case pause == 0 && !p.Next.IsZero():
			pause = time.Second
		}
	}
	if pause == 0 && m.seen.Server.Stopping {
		pause = time.Second
	}
	if pause == 0 {
		return nil
	}
	m.ticking = true
	return m.later(max(pause, m.frame), tickMsg{})
}

// later sends a message after a pause, unless the screen ends before.
func (m *model) later(pause time.Duration, msg tea.Msg) cmd {
	ended := m.ctx.Done()
	return func() tea.Msg {
		t := time.NewTimer(pause)
		defer t.Stop()
		select {
		case <-t.C:
			return msg
		case <-ended:
			return nil
		}
	}
}

// send sends a command. Its success shows in the state; an error becomes a toast.
func (m *model) send(verb state.Verb, page string) cmd {
	ctx, src := m.ctx, m.src
	return guarded(func() tea.Msg {
		if err := src.Do(ctx, state.Command{Verb: verb, Page: page}); err != nil && ctx.Err() == nil {
			return toastMsg(err.Error())
		}
		return nil
	})
}

// sendToPage sends a command for the selected page.
func (m *model) sendToPage(verb state.Verb) cmd {
	if m.routes.selected == "" {
		return m.showToast("there is no page yet")
	}
	return m.send(verb, m.routes.selected)
}

// handleKeys handles keys. Those that come faster than they are read come together,
// and their commands run in order. Pasted text is ignored unless a prompt is open.
func (m *model) handleKeys(msg tea.KeyMsg) cmd {
	if msg.Type != tea.KeyRunes || len(msg.Runes) < 2 {
		return m.handleKey(msg)
	}
	if msg.Paste && m.prompt == nil {
		return nil
	}
	var all []cmd
	for _, r := range msg.Runes {
		all = append(all, m.handleKey(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}, Alt: msg.Alt}))
	}
	return tea.Sequence(all...)
}

// handleKey handles one key.
func (m *model) handleKey(msg tea.KeyMsg) cmd {
	name := msg.String()
	b, known := m.keys.binding(name)
	if _, broken := m.currentError(); m.focus == inBuild && !broken {
		m.focus = inRoutes // the pane is gone
	}
	switch {
	case name == "ctrl+c":
		return m.interrupt()
	case m.prompt != nil:
		return m.prompt.handleKey(m, msg)
	case m.overlay != nil:
		return m.overlay.handleKey(m, msg)
	case !known:
		return m.showToast(fmt.Sprintf("%s does nothing here; %s shows the keys", printable(name), m.keys.firstKey("help")))
	}
	return b.act(m)
}

// printable returns the name of a key for a message.
func printable(key string) string {
	if key == " " {
		return "space"
	}
	return clean(key)
}

// projectName returns the name of the project's folder.
func (m *model) projectName() string {
	if m.seen.Server.Root == "" {
		return ""
	}
	return clean(filepath.Base(m.seen.Server.Root))
}

// inFlight returns how many requests are under way on all pages.
func (m *model) inFlight() (n int) {
	for _, l := range m.seen.Loads {
		n += l.InFlight
	}
	return n
}

// oneLine returns text with its line ends replaced by spaces.
func oneLine(s string) string { return strings.ReplaceAll(clean(strings.TrimSpace(s)), "\n", " ") }
