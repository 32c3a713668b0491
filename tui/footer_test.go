package tui

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tqserver/internal/state"
)

// hintsIn are the keys that a footer shows, as far as they are whole.
func hintsIn(m *model, line string) (shown []string, rest string) {
	words, last := m.hints()
	all := append(words, last...)
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	for line = line + " "; strings.TrimSpace(line) != ""; {
		i := slices.IndexFunc(all, func(hint string) bool { return strings.HasPrefix(line, hint) })
		if i < 0 {
			return shown, line
		}
		shown = append(shown, all[i])
		line = line[len(all[i]):]
	}
	return shown, ""
}

func TestKeysFallAwayWholeAndLastOfAllHelpAndQuit(t *testing.T) {
	long := serving("/a/route/with/quite/a/long/name/of/its/own", 3, 1, 1, ms, ms, ms)
	long.Phase, long.Build.Problems = state.Failed, []state.Problem{{File: "main.go", Line: 1, Column: 1, Message: "no"}}
	stopped := serving("/", 1, 1, 1, ms, ms, ms)
	stopped.Phase, stopped.Workers = state.Stopped, nil
	for name, u := range map[string]state.Update{
		"well": {Events: []state.Event{{Page: new(serving("/", 1, 1, 1, ms, ms, ms))}}}, "broken": shop(""),
		"long": {Events: []state.Event{{Page: &long}}}, "stopped": {Events: []state.Event{{Page: &stopped}}},
	} {
		for _, keys := range [][]string{nil, {"2"}, {"3"}, {"enter"}} {
			m, _ := screenOf(t, 100, 30, false, u)
			press(m, keys...)
			m.toast.text = ""
			for _, m.height = range []int{leastHeight, lowScreen - 1, lowScreen, 40} {
				for m.width = 16; m.width <= 250; m.width++ {
					w, h := m.width, m.height
					at := fmt.Sprintf("%s, after %v, %dx%d", name, keys, w, h)
					n := m.layout().footers
					var shown []string
					for _, line := range m.footer(n) {
						hints, rest := hintsIn(m, strings.TrimRight(line, " "))
						if rest != "" || width(line) != w {
							t.Fatalf("%s: %q is cut: %q is no key", at, line, rest)
						}
						shown = append(shown, hints...)
					}
					words, last := m.hints()
					if !slices.Equal(shown, append(words[:len(shown)-len(last):len(shown)-len(last)], last...)) {
						t.Fatalf("%s: the least important are not the first to go: %q", at, shown)
					}
				}
			}
		}
	}
}

// TestTheTitleOfABuildErrorHasWholeKeys looks at the other place that names
// keys.
func TestTheTitleOfABuildErrorHasWholeKeys(t *testing.T) {
	for _, route := range []string{"/api", "/a/route/with/quite/a/long/name/of/its/own"} {
		page := serving(route, 3, 1, 1, ms, ms, ms)
		page.Phase, page.Build.Problems = state.Failed, []state.Problem{{File: "main.go", Line: 1, Column: 1, Message: "no"}}
		m, _ := screenOf(t, 0, 40, false, state.Update{Events: []state.Event{{Page: &page}}})
		for w := leastWidth; w <= 250; w++ {
			m.width = w
			s := m.layout()
			title := strings.Split(m.View(), "\n")[s.build.y-1]
			if i := strings.Index(title, "…"); i >= 0 && strings.Contains(title[:i], "serving #3   ") {
				t.Errorf("at %d columns: %s", w, title)
			}
			for _, word := range []string{"e edit", "y copy", "b rebuild"} {
				if _, tail, found := strings.Cut(title, word[:2]); found && !strings.HasPrefix(tail, word[2:]+" ") {
					t.Errorf("at %d columns %q is not whole: %s", w, word, title)
				}
			}
		}
	}
}
