package tui

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/state"
)

// longLog is a page with some lines, of which some need several rows.
func longLog(t *testing.T, w, h, lines int) *model {
	page := serving("/", 1, 1, 1, ms, ms, ms)
	m, _ := screenOf(t, w, h, false, state.Update{Events: []state.Event{{Page: &page}}})
	for n := range lines {
		text := fmt.Sprintf("line %03d", n)
		if n%3 == 0 {
			text += strings.Repeat(" and more of it", n%7*3)
		}
		m.apply(line("/", text))
	}
	return m
}

var linesBelow = regexp.MustCompile(`SCROLLED  ([\d,]+) below`)

// logSeen is what the log pane shows, and how many lines its title says are
// below.
func logSeen(m *model) (rows []string, below int) {
	at := m.layout().logs
	below = -1
	if found := linesBelow.FindStringSubmatch(strings.Join(m.logPane().facts(m.logRows()), "  ")); found != nil {
		below, _ = strconv.Atoi(strings.ReplaceAll(found[1], ",", ""))
	}
	for _, row := range m.logPane().render(at.w, at.h) {
		rows = append(rows, plainRow(row))
	}
	return rows, below
}

// TestAPageUpOrDownMovesTheLog compares what the pane shows with a window on
// all rows of the log.
func TestAPageUpOrDownMovesTheLog(t *testing.T) {
	for _, up := range []string{"pgup", "ctrl+u"} {
		for _, keys := range [][]string{{"2"}, {"2", "w"}, {"2", "&", "1", "enter"}, {"2", "z"}, {"2", "z", "w"}, {"enter"}, {"2", "a", "w", "!", "2", "enter"}} {
			for _, size := range [][2]int{{120, 35}, {80, 24}, {170, 40}, {60, 14}} {
				at := fmt.Sprintf("%s after %v at %v", up, keys, size)
				m := longLog(t, size[0], size[1], 200)
				press(m, keys...)
				v, _ := m.view()
				var all []string // every row
				var of []int     // the line that it is of
				for i, n := range v.shown {
					for _, row := range m.logPane().lines(n, m.layout().logs.w) {
						all, of = append(all, plainRow(row)), append(of, i)
					}
				}
				h := m.layout().logs.h
				check := func(what string, top, wantBelow int) {
					t.Helper()
					rows, below := logSeen(m)
					if diff := cmp.Diff(all[top:top+h], rows); diff != "" {
						t.Fatalf("%s: %s (-want +got):\n%s", at, what, diff)
					}
					if below != wantBelow {
						t.Fatalf("%s: %s: %d below, want %d", at, what, below, wantBelow)
					}
					if c := v.index(v.cursor); v.scrolled && (c < of[top] || c > of[top+h-1]) {
						t.Fatalf("%s: %s: the cursor is not on the screen", at, what)
					}
				}
				m.focus = inLogs
				top := len(all) - h
				check("at first", top, -1)
				for top > 0 {
					m.Update(keyMsg(up))
					top = max(0, top-(h-1))
					check("a page up", top, of[len(of)-1]-of[top+h-1])
				}
				m.Update(keyMsg(up))
				if check("at the beginning", 0, of[len(of)-1]-of[h-1]); v.cursor != v.shown[0] {
					t.Errorf("%s: the first line cannot be reached", at)
				}
				for top+h-1 < len(all)-h {
					m.Update(keyMsg("pgdown"))
					top += h - 1
					check("a page down", top, of[len(of)-1]-of[top+h-1])
				}
				m.Update(keyMsg("ctrl+d"))
				check("at the end", len(all)-h, -1)
				m.Update(keyMsg(up))
				m.Update(keyMsg("end"))
				check("end", len(all)-h, -1)
			}
		}
	}
}

func TestALineUpMovesOnlyTheCursorWhileThatIsOnTheScreen(t *testing.T) {
	for _, keys := range [][]string{{"2"}, {"2", "w"}, {"2", "z", "w"}} {
		m := longLog(t, 100, 30, 100)
		press(m, keys...)
		before, _ := logSeen(m)
		m.Update(keyMsg("k"))
		after, below := logSeen(m)
		if diff := cmp.Diff(before, after); diff != "" || below != 0 {
			t.Errorf("after %v, %d below (-want +got):\n%s", keys, below, diff)
		}
	}
}

// plainRow is a row without colours and without what fills it up.
func plainRow(row string) string {
	return strings.TrimRight(ansiColour().ReplaceAllString(row, ""), " ")
}

func TestALargerScreenShowsMoreOfAScrolledLog(t *testing.T) {
	m := longLog(t, 100, 30, 100)
	press(m, "2", "k", "k", "k")
	for _, keys := range [][]string{nil, {"z"}, {"w"}, {"z"}, {"z"}, {"w"}} {
		press(m, keys...)
		rows, _ := logSeen(m)
		if last := rows[len(rows)-1]; last == "" {
			t.Errorf("after %v there is room below the last line:\n%s", keys, strings.Join(rows, "\n"))
		}
	}
	m.height = 20
	v, _ := m.view()
	if rows, _ := logSeen(m); !strings.Contains(strings.Join(rows, "\n"), m.logs.store.of("/").at(v.cursor).text[:8]) {
		t.Errorf("on a smaller screen the cursor is out of sight:\n%s", strings.Join(rows, "\n"))
	}
}
