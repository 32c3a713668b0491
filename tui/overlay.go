package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
)

// overlay covers the panes until it is closed.
type overlay interface {
	handleKey(m *model, msg tea.KeyMsg) cmd
	render(m *model) (title string, lines []string)
}

// overlaid returns the lines of the screen with the overlay.
func (m *model) overlaid() []string {
	title, body := m.overlay.render(m)
	lines := []string{m.header(), m.look.rule(m.width, title, "", true)}
	for _, line := range body[:min(len(body), m.height-4)] {
		lines = append(lines, left(line, m.width))
	}
	for len(lines) < m.height-2 {
		lines = append(lines, "")
	}
	lines = append(lines, m.look.rule(m.width, "", "", false))
	if m.toast.text != "" || m.prompt != nil {
		return append(lines, m.footer(1)...)
	}
	return append(lines, "")
}

// text is an overlay of lines. Any key closes it, except for those that scroll.
type text struct {
	title string
	lines func(m *model) []string
	from  int
}

func (t *text) handleKey(m *model, msg tea.KeyMsg) cmd {
	most := max(0, len(t.lines(m))-(m.height-4))
	b, _ := m.keys.binding(msg.String())
	switch b.action {
	case "down":
		t.from = min(most, t.from+1)
	case "up":
		t.from = max(0, t.from-1)
	case "page-down":
		t.from = min(most, t.from+m.height-4)
	case "page-up":
		t.from = max(0, t.from-m.height+4)
	case "top":
		t.from = 0
	case "bottom":
		t.from = most
	default:
		m.overlay = nil
	}
	return nil
}

func (t *text) render(m *model) (string, []string) {
	lines := t.lines(m)
	title := t.title
	if len(lines) > m.height-4 {
		title += fmt.Sprintf("  (%s/%s scroll, any other key closes)", m.keys.firstKey("down"), m.keys.firstKey("up"))
	} else {
		title += "  (any key closes)"
	}
	return title, lines[min(t.from, len(lines)):]
}

func (m *model) openHelp() cmd {
	focus := m.focus
	m.overlay = &text{title: "Help", lines: func(m *model) []string { return m.help(focus) }}
	return nil
}

// help lists the keys, those of the focused pane first.
func (m *model) help(focus pane) (lines []string) {
	section := func(title string, belongs func(binding) bool) {
		lines = append(lines, "", " "+title)
		for _, b := range m.keys.table {
			if belongs(b) && len(b.keys) > 0 {
				lines = append(lines, fmt.Sprintf("   %-16s %s", strings.Join(b.keys, " "), b.help))
			}
		}
	}
	section(focus.name(), func(b binding) bool { return b.where == focus })
	if len(lines) == 2 {
		lines = nil
	}
	section("Everywhere", func(b binding) bool { return b.where == everywhere })
	section("Other panes", func(b binding) bool { return b.where != everywhere && b.where != focus })
	lines = lines[1:]
	if m.width < besideWidth {
		return lines
	}
	half := (len(lines) + 1) / 2
	for i, line := range lines[half:] {
		lines[i] = left(lines[i], m.width/2) + line
	}
	return lines[:half]
}

// url returns the URL of a route on this machine.
func (m *model) url(route string) string { return m.seen.Server.URL() + route }

func (m *model) inspect() cmd {
	if _, ok := m.row(); !ok {
		return m.showToast("there is no page yet")
	}
	route := m.routes.selected
	m.overlay = &text{title: "Page " + clean(route), lines: func(m *model) []string { return m.facts(route) }}
	return nil
}

// facts returns all that is known about a page.
func (m *model) facts(route string) (lines []string) {
	r := row{m.seen.Pages[route], m.seen.Loads[route]}
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, fmt.Sprintf("   %-12s %s", name, clean(value)))
		}
	}
	word, _ := r.state(m.look)
	add("state", word)
	add("folder", r.Dir)
	add("log", r.Log)
	add("problem", oneLine(r.Trouble.Text))
	add("health", r.health(m.now))
	add("restarts", fmt.Sprint(r.Restarts))
	add("requests", fmt.Sprintf("%d, %d with status 5xx, %d under way, p50 %s, p95 %s", r.load.Requests, r.load.Errors, r.load.InFlight, took(r.load.P50), took(r.load.P95)))
	for _, w := range r.Workers {
		lines = append(lines, "", fmt.Sprintf("   worker       %s, pid %d, port %d, build %d, since %s", w.Role, w.PID, w.Port, w.Build, w.Since.Local().Format("15:04:05")))
		add("binary", w.Binary)
		lines = append(lines, listed("environment", slices.DeleteFunc(slices.Clone(w.Env), inherited))...)
	}
	lines = append(lines, "", "   health")
	for _, h := range slices.Backward(m.past.healths[route]) {
		how := "ok"
		if h.failed > 0 {
			how = plural(h.failed, "check failed", "checks in a row failed")
		}
		lines = append(lines, fmt.Sprintf("     %s  pid %-7d %s", h.at.Local().Format("15:04:05"), h.pid, how))
	}
	lines = append(lines, "", "   builds")
	for _, b := range slices.Backward(m.past.builds[route]) {
		what := "ok"
		switch {
		case len(b.Problems) > 0:
			what = plural(len(b.Problems), "error", "errors")
		case b.Cached:
			what = "unchanged"
		}
		lines = append(lines, fmt.Sprintf("     #%-4d %s  %7s  %-10s %s", b.Number, b.Started.Local().Format("15:04:05"), took(b.Took), what, cmp.Or(clean(b.Trigger), "start")))
	}
	if w := r.present(); w != nil {
		lines = append(lines, "")
		lines = append(lines, listed("inherited", slices.DeleteFunc(slices.Clone(w.Env), func(kv string) bool { return !inherited(kv) }))...)
	}
	return lines
}

// inherited reports whether a variable comes from the environment of the server: the
// server sets others.
func inherited(kv string) bool { return !strings.HasPrefix(kv, "TQ_") && !strings.HasPrefix(kv, "GO") }

// listed returns values below each other, behind a name.
func listed(name string, values []string) (lines []string) {
	for _, value := range values {
		lines = append(lines, fmt.Sprintf("   %-12s %s", name, clean(value)))
		name = ""
	}
	return lines
}

// quitDialog asks whether to quit while requests are under way.
type quitDialog struct{}

func (quitDialog) handleKey(m *model, msg tea.KeyMsg) cmd {
	switch msg.String() {
	case "y", "Y", "enter":
		m.overlay = nil
		return m.shutDown()
	case "Q":
		return m.quitNow()
	case "n", "N", "esc", "q":
		m.overlay = nil
	}
	return nil
}

func (quitDialog) render(m *model) (string, []string) {
	question := "No requests are under way any more. Quit?"
	if n := m.inFlight(); n > 0 {
		question = plural(n, "request is", "requests are") + " under way. Quit when they are done?"
	}
	return "Quit", []string{"", "   " + question, "", "   y  yes     n  no     " + m.keys.firstKey("quit-now") + "  at once"}
}

// commands is the list of all commands by name.
type commands struct {
	input textinput.Model
	at    int
}

func (m *model) openPalette() cmd {
	c := &commands{input: newInput(": ", "")}
	m.overlay = c
	return nil
}

func newInput(prompt, text string) textinput.Model {
	in := textinput.New()
	in.Prompt = prompt
	in.SetValue(text)
	in.CursorEnd()
	in.Focus()
	return in
}

// matching returns the commands that match a query, those that begin with it first.
func (c *commands) matching(m *model) (found []binding) {
	query := strings.ToLower(strings.TrimSpace(c.input.Value()))
	for _, first := range []bool{true, false} {
		for _, b := range m.keys.table {
			if begins := strings.HasPrefix(string(b.action), query); begins == first && fuzzy(string(b.action), query) {
				found = append(found, b)
			}
		}
	}
	return found
}

// fuzzy reports whether a name contains the letters of a query in their order.
func fuzzy(name, query string) bool {
	for _, r := range query {
		i := strings.IndexRune(name, r)
		if i < 0 {
			return false
		}
		name = name[i+len(string(r)):]
	}
	return true
}

func (c *commands) handleKey(m *model, msg tea.KeyMsg) cmd {
	found := c.matching(m)
	switch msg.Type {
	case tea.KeyEsc:
		m.overlay = nil
	case tea.KeyUp, tea.KeyCtrlP:
		c.at = max(0, c.at-1)
	case tea.KeyDown, tea.KeyCtrlN, tea.KeyTab:
		c.at = max(0, min(c.at+1, len(found)-1))
	case tea.KeyEnter:
		if len(found) == 0 {
			return m.showToast("no such command")
		}
		m.overlay = nil
		return found[min(c.at, len(found)-1)].act(m)
	default:
		c.input, _ = c.input.Update(msg)
		c.at = 0
	}
	return nil
}

func (c *commands) render(m *model) (string, []string) {
	lines := []string{"   " + inputLine(c.input, m.width-3), ""}
	space := m.height - 6
	from := max(0, c.at-space+1)
	for i, b := range c.matching(m)[min(from, len(c.matching(m))):] {
		line := fmt.Sprintf("   %-15s %-14s %s", b.action, strings.Join(b.keys, " "), b.help)
		if i+from == c.at {
			line = m.look.mark(left(">"+line[1:], m.width))
		}
		lines = append(lines, line)
	}
	return "Commands  (enter runs, esc closes)", lines
}

// prompt asks for a line of text in the footer.
type prompt struct {
	input    textinput.Model
	before   string
	onChange func(text string)
	onEnter  func(text string) cmd
}

// openPrompt opens a prompt. It calls onChange with the text after each change, and
// onEnter with the final text; onEnter may be nil.
func (m *model) openPrompt(what, text string, onChange func(string), onEnter func(string) cmd) {
	m.prompt = &prompt{input: newInput(what, text), before: text, onChange: onChange, onEnter: onEnter}
}

func (p *prompt) handleKey(m *model, msg tea.KeyMsg) cmd {
	switch msg.Type {
	case tea.KeyEsc:
		m.prompt = nil
		p.onChange(p.before)
		return nil
	case tea.KeyEnter:
		m.prompt = nil
		if p.onEnter != nil {
			return p.onEnter(p.input.Value())
		}
		return nil
	}
	p.input, _ = p.input.Update(msg)
	p.onChange(p.input.Value())
	return nil
}

func (p *prompt) render(w int) string { return " " + left(inputLine(p.input, w-1), w-1) }

// inputLine returns the line of an input, cut on the left if it is too long.
func inputLine(in textinput.Model, w int) string {
	value := in.Value()
	runes := []rune(value)
	at := min(in.Position(), len(runes))
	text := clean(string(runes[:at])) + "▏" + clean(string(runes[at:]))
	space := w - width(in.Prompt)
	for width(text) > space && text != "" {
		_, n := utf8.DecodeRuneInString(text)
		text = text[n:]
	}
	return in.Prompt + text
}
