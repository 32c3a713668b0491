package tui

import (
	"fmt"
	"slices"
	"strings"

	"tqserver/internal/state"
)

// action names what a key does.
type action string

// binding is a line of the key table, the one place that says which key does what.
// The footer, the help and the palette are made from it. The keys of commands are in
// the table of commands, because every front end has the same.
type binding struct {
	action action
	keys   []string
	short  string // for the footer; empty if it does not stand there
	help   string
	where  pane // in which it has a meaning
	act    func(*model) cmd
}

// bindings returns the table, in the order in which the footer names them.
func bindings() []binding { return bindingsWith(state.Commands()) }

// ownBindings are the lines with a text or a behaviour of the screen's own.
func ownBindings() []binding {
	return []binding{
		{"down", []string{"j", "down"}, "move", "move down", everywhere, (*model).down},
		{"up", []string{"k", "up"}, "", "move up", everywhere, (*model).up},
		{"enter", []string{"enter"}, "logs", "the selected route's log, full screen", inRoutes, (*model).enter},
		{"restart", keyOf(state.Restart), "restart", "restart the selected page, without building and without downtime", everywhere, (*model).restart},
		{"rebuild", keyOf(state.Rebuild), "rebuild", "rebuild the selected page, even if nothing changed", everywhere, (*model).rebuild},
		{"stop", keyOf(state.Stop), "stop", "stop the selected page gracefully", everywhere, (*model).stop},
		{"start", keyOf(state.Start), "start", "start the selected page", everywhere, (*model).start},
		{"open", []string{"o"}, "open", "open the route in the browser", everywhere, (*model).openBrowser},
		{"edit", []string{"e"}, "edit", "open the build error, or the page's main file, in the editor", everywhere, (*model).edit},
		{"pause", keyOf(state.Pause), "pause watch", "pause and resume watching; resuming builds what was saved meanwhile", everywhere, (*model).pause},
		{"search", []string{"/"}, "search", "routes: filter; logs: search as you type", everywhere, (*model).search},
		{"keep", []string{"&"}, "filter", "keep only matching lines; stays with the page until cleared", inLogs, (*model).keep},
		{"follow", []string{"f"}, "follow", "follow the end of the log", inLogs, (*model).follow},
		{"restart-all", []string{"R"}, "restart all", "restart all pages", everywhere, (*model).restartAll},
		{"rebuild-all", []string{"B"}, "rebuild all", "rebuild all pages", everywhere, (*model).rebuildAll},
		{"kill", keyOf(state.Kill), "", "kill the selected page, without waiting for requests", everywhere, (*model).kill},
		{"urls", []string{"u"}, "urls", "list the route's URLs, local and in the network", everywhere, (*model).urls},
		{"zoom", []string{"z"}, "zoom", "the focused pane alone, without borders", everywhere, (*model).zoomPane},
		{"copy", []string{"y"}, "copy", "copy the line, the selected lines, or the whole build error", everywhere, (*model).copy},
		{"inspect", []string{"i"}, "info", "all about the page: process, environment, builds", everywhere, (*model).inspect},
		{"palette", []string{":"}, "commands", "every command by name", everywhere, (*model).openPalette},
		{"help", []string{"?"}, "help", "this help; any key closes it", everywhere, (*model).openHelp},
		{"quit", []string{"q", "ctrl+c"}, "quit", "quit; asks if requests are under way; ctrl+c twice quits at once", everywhere, (*model).quit},
		{"mouse", []string{"M"}, "mouse", "mouse on and off (the terminal's own selection works while it is off)", everywhere, (*model).toggleMouse},
		{"select", []string{"v"}, "select", "select lines; y copies them", inLogs, (*model).selectLines},

		{"top", []string{"g", "home"}, "", "to the beginning", everywhere, (*model).top},
		{"bottom", []string{"G", "end"}, "", "to the end; in the logs, follow again", everywhere, (*model).bottom},
		{"page-down", []string{"ctrl+d", "pgdown"}, "", "a page down", everywhere, (*model).pageDown},
		{"page-up", []string{"ctrl+u", "pgup"}, "", "a page up", everywhere, (*model).pageUp},
		{"next-pane", []string{"tab"}, "", "focus the next pane", everywhere, (*model).nextPane},
		{"routes", []string{"1"}, "", "focus the routes", everywhere, (*model).focusRoutes},
		{"logs", []string{"2"}, "", "focus the logs", everywhere, (*model).focusLogs},
		{"build", []string{"3"}, "errors", "focus the build errors", everywhere, (*model).focusBuild},
		{"back", []string{"esc"}, "", "one level back; never quits", everywhere, (*model).back},
		{"reload", keyOf(state.Reload), "", "reload the configuration", everywhere, (*model).reload},
		{"next-hit", []string{"n"}, "", "next hit", inLogs, (*model).nextMatch},
		{"previous-hit", []string{"N"}, "", "previous hit", inLogs, (*model).previousMatch},
		{"drop", []string{"!"}, "", "drop matching lines; stays with the page until cleared", inLogs, (*model).drop},
		{"level", []string{"l"}, "", "level: all, info, warn, error", inLogs, (*model).level},
		{"requests", []string{"h"}, "", "hide requests, or show them again", inLogs, (*model).requests},
		{"wrap", []string{"w"}, "", "wrap long lines", inLogs, (*model).wrap},
		{"times", []string{"t"}, "", "timestamps", inLogs, (*model).times},
		{"mark", []string{"m"}, "", "a mark at the end of the log", inLogs, (*model).mark},
		{"clear", []string{"C"}, "", "clear the view, never the file", inLogs, (*model).clear},
		{"all-logs", []string{"a"}, "", "log of all pages, or of the selected one", everywhere, (*model).allLogs},
		{"next-error", []string{"]"}, "", "next build error", everywhere, (*model).nextError},
		{"previous-error", []string{"["}, "", "previous build error", everywhere, (*model).previousError},
		{"sort", []string{"S"}, "", "sort: " + strings.Join(sortingNames(), ", "), inRoutes, (*model).sortRoutes},
		{"quit-now", []string{"Q"}, "", "quit at once: requests under way are cut", everywhere, (*model).quitNow},
		{"suspend", []string{"ctrl+z"}, "", "suspend the server too, until fg", everywhere, (*model).suspend},
		{"redraw", []string{"ctrl+l"}, "", "redraw the screen", everywhere, (*model).redraw},
	}
}

// bindingsWith returns the table with a line for each command that has none of its
// own.
func bindingsWith(commands []state.CommandSpec) []binding {
	table := ownBindings()
	for _, c := range commands {
		named := slices.ContainsFunc(table, func(b binding) bool { return b.action == action(c.Verb) })
		if named || c.Verb == state.Resume || c.Verb == state.Shutdown { // pause and quit
			continue
		}
		table = append(table, binding{action(c.Verb), []string{c.Key}, "", c.Help, everywhere, func(m *model) cmd {
			if c.Scope == state.ScopeServer {
				return m.send(c.Verb, "")
			}
			return m.sendToPage(c.Verb)
		}})
	}
	return table
}

// keyOf returns the keys of a command.
func keyOf(verb state.Verb) []string {
	for _, c := range state.Commands() {
		if c.Verb == verb {
			return []string{c.Key}
		}
	}
	return nil
}

// Key is a line of the key table, as a document shows it.
type Key struct {
	Keys   []string // as config/tui.yaml names them
	Action string   // the name by which config/tui.yaml gives it other keys
	Help   string
	Pane   string // where it has a meaning: Routes or Logs; empty for everywhere
}

// Keys returns the keys as they are unless a project changes them, in the order of the
// help.
func Keys() (all []Key) {
	for _, b := range bindings() {
		all = append(all, Key{b.keys, string(b.action), b.help, b.where.name()})
	}
	return all
}

// keymap is the table in force.
type keymap struct {
	table []binding
	byKey map[string]int
}

// Rebinding gives an action other keys.
type Rebinding struct {
	Place  string // file:line, for the message that it is wrong
	Action string
	Keys   []string
}

// newKeymap applies rebindings to the table. The error names every one that has an
// unknown action or key, or a key of another action.
func newKeymap(changes []Rebinding) (keymap, error) {
	k := keymap{table: bindings(), byKey: make(map[string]int)}
	var problems []string
	from := make(map[string]string) // the place that names a key
	for _, c := range changes {
		i := slices.IndexFunc(k.table, func(b binding) bool { return string(b.action) == c.Action })
		if i < 0 {
			problems = append(problems, fmt.Sprintf("%s: there is no action %q; docs/terminal.md lists them", c.Place, c.Action))
			continue
		}
		for _, key := range c.Keys {
			if !knownKey(key) {
				problems = append(problems, fmt.Sprintf("%s: there is no key %q: write a character, or a name such as enter, tab, up, pgdown, f5, ctrl+r, alt+x", c.Place, key))
			}
			from[key] = c.Place
		}
		k.table[i].keys = c.Keys
	}
	for i, b := range k.table {
		for _, key := range b.keys {
			if other, taken := k.byKey[key]; taken {
				place := from[key]
				if place == "" {
					continue
				}
				problems = append(problems, fmt.Sprintf("%s: the key %s is bound to %s and to %s", place, key, k.table[other].action, b.action))
			}
			k.byKey[key] = i
		}
	}
	if len(problems) > 0 {
		return k, fmt.Errorf("%s", strings.Join(problems, "\n"))
	}
	return k, nil
}

// namedKeys are the keys whose name is longer than a character, as Bubble Tea
// calls them.
var namedKeys = []string{
	"enter", "tab", "shift+tab", "esc", " ", "backspace", "delete", "insert", "up", "down", "left", "right", "home", "end", "pgup", "pgdown",
	"f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12",
}

func knownKey(key string) bool {
	rest := strings.TrimPrefix(key, "alt+")
	if letter, ok := strings.CutPrefix(rest, "ctrl+"); ok {
		return len(letter) == 1 && letter[0] >= 'a' && letter[0] <= 'z' || slices.Contains(namedKeys, letter)
	}
	return len([]rune(rest)) == 1 || slices.Contains(namedKeys, rest)
}

// binding returns the binding of a key.
func (k keymap) binding(key string) (binding, bool) {
	i, ok := k.byKey[key]
	if !ok {
		return binding{}, false
	}
	return k.table[i], true
}

// firstKey returns the first key of an action, for texts.
func (k keymap) firstKey(a action) string {
	for _, b := range k.table {
		if b.action == a && len(b.keys) > 0 {
			return b.keys[0]
		}
	}
	return string(a)
}
