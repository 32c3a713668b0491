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

// pane is a part of the screen, or several.
type pane int

const (
	inRoutes pane = 1 << iota
	inLogs
	inBuild
	everywhere = inRoutes | inLogs | inBuild
)

// name is what a pane is called; several have none.
func (p pane) name() string {
	return map[pane]string{inRoutes: "Routes", inLogs: "Logs", inBuild: "Build"}[p]
}

// toastFor is how long a word of the screen itself stays.
const toastFor = 4 * time.Second

// historyLength is how many builds and changes of health of a page the inspector shows.
const historyLength = 20

// health is how a page's worker was, from a moment on.
type health struct {
	at     time.Time
	pid    int
	failed int // checks in a row
}

// model is the one model of the program. What is drawn follows from it alone.
type model struct {
	ctx   context.Context
	src   state.Source
	frame time.Duration // between two updates, at least
	keys  keymap
	look  look
	out   *terminal

	width, height int
	now           time.Time // of the last message

	seen    state.Mirror
	history map[string][]state.Build // finished ones, newest last
	healths map[string][]health      // changes, newest last
	book    logStore
	views   map[string]*logView
	source  excerpt

	selected   string // route
	touched    bool   // somebody pressed a key or the mouse
	filter     string // of routes
	sort       int
	focus      pane
	zoom       bool
	full       bool // the log alone, with its borders
	merged     bool
	wrapping   bool
	timing     bool
	mousing    bool
	errorIndex int    // of a page's, in the Build pane
	errorRoute string // the page whose error the Build pane shows

	overlay      overlay
	prompt       *prompt
	toast        string
	toastNumber  int // so far
	timedToast   int // the toast that goes by itself
	ticking      bool
	shuttingDown bool // the end was asked for
	atOnce       bool
	broken       error // why the screen cannot go on
}

func newModel(ctx context.Context, src state.Source, keys keymap, look look, frame time.Duration, out *terminal) *model {
	return &model{
		ctx: ctx, src: src, keys: keys, look: look, frame: frame, out: out, now: time.Now(), seen: state.Mirror{Cursor: state.Cursor{Seq: state.Beginning}},
		history: make(map[string][]state.Build), healths: make(map[string][]health),
		book: logStore{pages: make(map[string]*ring), partial: make(map[state.Stream]bool)}, views: make(map[string]*logView),
		focus: inRoutes, timing: true,
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

// next waits for what happens, at most once a frame.
func (m *model) next() cmd {
	after, frame, ctx, src := m.seen.Cursor, time.NewTimer(m.frame), m.ctx, m.src
	return guarded(func() tea.Msg {
		select {
		case <-frame.C:
		case <-ctx.Done():
		}
		u, err := src.Next(ctx, after)
		return updateMsg{u, err}
	})
}

// guarded makes a message of a command's panic. Bubble Tea would write it into
// the screen while it still is one.
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
		m.touched = true
		c = m.handleKeys(msg)
	case tea.MouseMsg:
		m.touched = true
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
		if int(msg) == m.toastNumber {
			m.toast = ""
		}
	case sourceMsg:
		m.source = excerpt(msg)
	case editedMsg:
		if msg.err != nil {
			m.showToast(msg.err.Error())
		}
	case endMsg:
		return m, tea.Quit
	case failureMsg:
		m.broken = msg.err
		return m, tea.Quit
	}
	return m, tea.Batch(c, m.tick(), m.expireToast(), m.fetchSource())
}

// apply adds an update to what is known.
func (m *model) apply(u state.Update) {
	m.seen.Apply(u)
	if u.Snapshot != nil {
		for _, p := range u.Snapshot.Pages {
			m.remember(p, m.now)
		}
	}
	for _, e := range u.Events {
		if e.Page != nil && !e.Removed {
			m.remember(*e.Page, e.Time)
		}
	}
	m.book.addUpdate(u)
	m.keepSelection()
}

// remember keeps of a page what the inspector shows of its past.
func (m *model) remember(p state.Page, at time.Time) {
	builds := m.history[p.Route]
	if p.Build.Took > 0 && (len(builds) == 0 || !builds[len(builds)-1].Started.Equal(p.Build.Started)) {
		m.history[p.Route] = newest(append(builds, p.Build))
	}
	healths := m.healths[p.Route]
	if w := (row{Page: p}).serving(); w != nil {
		now := health{at, w.PID, w.FailedChecks}
		if len(healths) == 0 || healths[len(healths)-1].pid != now.pid || healths[len(healths)-1].failed != now.failed {
			m.healths[p.Route] = newest(append(healths, now))
		}
	}
}

func newest[T any](all []T) []T { return all[max(0, len(all)-historyLength):] }

// keepSelection picks a page when the selected one is gone. Nothing else
// moves the selection but a key; before the first it is on the first page, in
// whatever order they come.
func (m *model) keepSelection() {
	if _, ok := m.seen.Pages[m.selected]; ok && m.touched || len(m.seen.Pages) == 0 {
		return
	}
	routes := slices.Sorted(maps.Keys(m.seen.Pages))
	if !m.touched {
		m.selected = routes[0]
		return
	}
	i, _ := slices.BinarySearch(routes, m.selected)
	m.selected = routes[min(i, len(routes)-1)]
}

// rows are all pages, by route.
func (m *model) rows() []row {
	rows := make([]row, 0, len(m.seen.Pages))
	for _, route := range slices.Sorted(maps.Keys(m.seen.Pages)) {
		rows = append(rows, row{m.seen.Pages[route], m.seen.Loads[route]})
	}
	return rows
}

// table are the rows as the table shows them.
func (m *model) table() []row {
	rows := slices.DeleteFunc(m.rows(), func(r row) bool { return m.filter != "" && !contains(r.Route, m.filter) })
	slices.SortStableFunc(rows, sortings[m.sort].less)
	return rows
}

// row is the selected page.
func (m *model) row() (row, bool) {
	p, ok := m.seen.Pages[m.selected]
	return row{p, m.seen.Loads[m.selected]}, ok
}

// shownLog is the page whose log is shown, empty for all.
func (m *model) shownLog() string {
	if m.merged {
		return ""
	}
	return m.selected
}

// view is how the shown log is looked at, up to date.
func (m *model) view() (*logView, *ring) {
	page := m.shownLog()
	v := m.views[page]
	if v == nil {
		v = newLogView()
		m.views[page] = v
	}
	r := m.book.of(page)
	v.refresh(r)
	return v, r
}

// currentError is what the Build pane shows: of the selected page if that is
// broken, or else of the first that is.
func (m *model) currentError() (pageError, bool) {
	all := pageErrors(m.rows())
	if len(all) == 0 {
		return pageError{}, false
	}
	route := all[0].route
	if slices.ContainsFunc(all, func(t pageError) bool { return t.route == m.selected }) {
		route = m.selected
	}
	if m.errorRoute != route {
		m.errorRoute, m.errorIndex = route, 0
	}
	mine := slices.DeleteFunc(all, func(t pageError) bool { return t.route != route })
	m.errorIndex = min(m.errorIndex, len(mine)-1)
	return mine[m.errorIndex], true
}

// fetchSource reads the source that the Build pane wants to show.
func (m *model) fetchSource() cmd {
	t, ok := m.currentError()
	if !ok || t.problem.File == "" || t.problem.Line == 0 || t.key() == m.source.key {
		return nil
	}
	root, key := m.seen.Server.Root, t.key()
	m.source = excerpt{key: key}
	return guarded(func() tea.Msg { return sourceMsg{key, project.Excerpt(root, key.file, key.line)} })
}

// tick draws again in a moment while something on the screen runs by itself:
// the time of a build, the wait of a crashed page, the time until the end.
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

// later brings a message after a while, unless the end comes before.
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

// showToast shows a word of the screen itself for a while. There is no command to it.
func (m *model) showToast(text string) cmd {
	m.toast = text
	m.toastNumber++
	return nil
}

// expireToast takes the newest word away when its time is over.
func (m *model) expireToast() cmd {
	if m.timedToast == m.toastNumber {
		return nil
	}
	n := m.toastNumber
	m.timedToast = n
	return m.later(toastFor, expireToastMsg(n))
}

// send has a command carried out. Its success is seen; only errors come back.
func (m *model) send(verb state.Verb, page string) cmd {
	ctx, src := m.ctx, m.src
	return guarded(func() tea.Msg {
		if err := src.Do(ctx, state.Command{Verb: verb, Page: page}); err != nil && ctx.Err() == nil {
			return toastMsg(err.Error())
		}
		return nil
	})
}

// sendToPage has a command carried out on the selected page.
func (m *model) sendToPage(verb state.Verb) cmd {
	if m.selected == "" {
		return m.showToast("there is no page yet")
	}
	return m.send(verb, m.selected)
}

// handleKeys are keys. Those that come faster than they are read come together, and
// their commands are carried out in order. What was pasted is no keys at all.
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

// handleKey is a handleKey that was pressed.
func (m *model) handleKey(msg tea.KeyMsg) cmd {
	name := msg.String()
	b, known := m.keys.of(name)
	if _, broken := m.currentError(); m.focus == inBuild && !broken {
		m.focus = inRoutes // the pane is gone
	}
	switch {
	case name == "ctrl+c":
		return m.interrupt()
	case m.prompt != nil:
		return m.prompt.key(m, msg)
	case m.overlay != nil:
		return m.overlay.key(m, msg)
	case !known:
		return m.showToast(fmt.Sprintf("%s does nothing here; %s shows the keys", printable(name), m.keys.key("help")))
	}
	return b.act(m)
}

func printable(key string) string {
	if key == " " {
		return "space"
	}
	return clean(key)
}

// projectName is the folder's.
func (m *model) projectName() string {
	if m.seen.Server.Root == "" {
		return ""
	}
	return clean(filepath.Base(m.seen.Server.Root))
}

// inFlight is how many requests are under way on all pages.
func (m *model) inFlight() (n int) {
	for _, l := range m.seen.Loads {
		n += l.InFlight
	}
	return n
}

// oneLine is text in which nothing begins a new line.
func oneLine(s string) string { return strings.ReplaceAll(clean(strings.TrimSpace(s)), "\n", " ") }
