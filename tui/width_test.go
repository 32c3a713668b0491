package tui

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"tqserver/internal/state"
)

// grid is a terminal that has an opinion on the width of characters.
type grid struct {
	cells  [][]string
	x, y   int
	nowrap bool
	opts   opinion
	scroll int // how often it scrolled
}

// opinion is how wide a terminal takes a cluster of characters to be, of which
// ours is w.
type opinion func(cluster string, w int) int

func newGrid(w, h int, opts opinion) *grid {
	g := &grid{opts: opts}
	for range h {
		g.cells = append(g.cells, make([]string, w))
	}
	return g
}

// frame writes a frame as Bubble Tea does.
func (g *grid) frame(view string) {
	g.x, g.y = 0, 0
	for i, line := range strings.Split(view, "\n") {
		if i > 0 {
			g.x = 0
			g.down()
		}
		if ansi.StringWidth(line) < len(g.cells[0]) {
			line += eraseLine
		}
		g.write(line)
	}
}

func (g *grid) down() {
	if g.y++; g.y == len(g.cells) {
		g.y--
		g.scroll++
		g.cells = append(g.cells[1:], make([]string, len(g.cells[0])))
	}
}

func (g *grid) write(s string) {
	wide := len(g.cells[0])
	for s != "" {
		if rest, ok := strings.CutPrefix(s, "\x1b["); ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
			switch args := rest[:end]; rest[end : end+1] {
			case "K":
				for x := min(g.x, wide-1); x < wide; x++ {
					g.cells[g.y][x] = ""
				}
			case "G":
				fmt.Sscan(args, &g.x)
				g.x--
			case "h", "l":
				g.nowrap = rest[end] == 'l'
			}
			s = rest[end+1:]
			continue
		}
		cluster, w := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		s = s[len(cluster):]
		w = g.opts(cluster, w)
		if w == 0 {
			continue
		}
		if g.x+w > wide {
			if g.nowrap {
				g.x = wide - w
			} else {
				g.x = 0
				g.down()
			}
		}
		g.cells[g.y][g.x] = cluster
		for x := g.x + 1; x < g.x+w; x++ {
			g.cells[g.y][x] = ""
		}
		g.x += w
	}
}

func (g *grid) rows() (rows []string) {
	for _, cells := range g.cells {
		var row strings.Builder
		for _, c := range cells {
			if c == "" {
				c = " "
			}
			row.WriteString(c)
		}
		rows = append(rows, strings.TrimRight(row.String(), " "))
	}
	return rows
}

func TestAWidthThatTerminalsDisagreeAboutMovesNothing(t *testing.T) {
	opinions := map[string]opinion{
		"ours":            func(_ string, w int) int { return w },
		"one each":        func(_ string, w int) int { return min(w, 1) },
		"rune by rune":    func(c string, w int) int { return w * utf8.RuneCountInString(c) },
		"ambiguous is 2":  func(c string, w int) int { return max(w, min(2, len(c))) },
		"a cell less":     func(c string, w int) int { return w - min(w, len(c)/8) },
		"flags are three": func(c string, w int) int { return w + len(c)/8 },
	}
	odd := strings.Repeat("👍🏽🇩🇪👩‍👩‍👧世e\u0301…", 30)
	for name, opts := range opinions {
		for _, size := range [][2]int{{80, 24}, {120, 35}, {170, 40}} {
			for _, colours := range []bool{false, true} {
				page := serving("/👍🏽🇩🇪", 1, 1, 1, ms, ms, ms)
				u := state.Update{Snapshot: &state.Snapshot{Server: state.Server{Root: "/👩‍👩‍👧", URLs: []string{"http://localhost:8080"}}}, Events: []state.Event{{Seq: 1, Page: &page}}}
				before, _ := screenOf(t, size[0], size[1], colours, u)
				after, _ := screenOf(t, size[0], size[1], colours, u)
				for n := range 60 {
					before.apply(line(page.Route, odd[:n*7%len(odd)]))
					before.apply(line(page.Route, strings.Repeat("x", 200)))
					after.apply(line(page.Route, strings.ToValidUTF8(odd[n*5%len(odd):][:min(n*3, len(odd)-n*5%len(odd))], "")))
				}
				press(before, "2", "a", "w", "k")
				press(after, "2", "w")
				alone, later := newGrid(size[0], size[1], opts), newGrid(size[0], size[1], opts)
				alone.frame(after.View())
				later.frame(before.View())
				later.frame(after.View())
				if alone.scroll+later.scroll > 0 {
					t.Errorf("%s, %v: the screen scrolls", name, size)
				}
				if diff := cmp.Diff(alone.rows(), later.rows()); diff != "" {
					t.Errorf("%s, %v: something is left behind (-drawn alone +drawn over another):\n%s", name, size, diff)
				}
				if later.nowrap {
					t.Errorf("%s, %v: the terminal is left without wrapping", name, size)
				}
				state, head := -1, -1
				for y, cells := range later.cells {
					for x, c := range cells {
						if c == "●" && state < 0 {
							state = x
						}
						if c == "S" && y < 3 && head < 0 && strings.Join(cells[x:min(x+5, len(cells))], "") == "STATE" {
							head = x
						}
					}
				}
				if state != head {
					t.Errorf("%s, %v: the state is in column %d, its head in %d", name, size, state, head)
				}
			}
		}
	}
}
