package tui

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"tqserver/internal/state"
)

// FuzzScreen draws random states on screens of any size: no panic, no line
// wider than the screen, not more lines than it has, and nothing that a
// terminal would obey but what the screen itself writes.
func FuzzScreen(f *testing.F) {
	f.Add(uint64(1), 120, 35, "hello\x1b[2J\x07\u202e世界e\u0301\t", "j2k?iz:")
	f.Add(uint64(103), 40, 10, "\u200d", "0")
	f.Add(uint64(85), 120, 35, "\x1b", "0")
	f.Add(uint64(2), 0, 0, "", "q")
	f.Add(uint64(3), 1, 1, "\x9b31m", "\r")
	f.Add(uint64(4), 40, 10, "👩‍👩‍👧‍👦🇩🇪\u200d\u0300\ufe0f", "/a\r")
	f.Add(uint64(5), 300, 100, strings.Repeat("世", 400), "vkkky")
	keys := []string{"j", "k", "tab", "enter", "esc", "?", "i", "z", "w", "t", "m", "C", "a", "S", "l", "f", "v", "/", ":", "&", "x", "u", "G", "g", "ctrl+d", "ctrl+u", "]", "[", "2", "3", "n", "q", "y"}
	f.Fuzz(func(t *testing.T, seed uint64, w, h int, text, typed string) {
		if w < 0 || h < 0 || w > 400 || h > 200 {
			t.Skip()
		}
		rnd := rand.New(rand.NewPCG(seed, 0))
		m, _ := screenOf(t, w, h, rnd.IntN(2) == 0, randomUpdate(rnd, text))
		m.look.ascii = rnd.IntN(4) == 0
		check := func() {
			t.Helper()
			view := m.View()
			lines := strings.Split(view, "\n")
			if len(lines) > max(h, 1) {
				t.Fatalf("%d lines on a screen of %d", len(lines), h)
			}
			for _, line := range lines {
				if got := ansi.StringWidth(line); got > w {
					t.Fatalf("%d cells on a screen of %d: %q", got, w, line)
				}
				if bad := strings.IndexFunc(rowControl.ReplaceAllString(colour.ReplaceAllString(line, ""), ""), func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }); bad >= 0 {
					t.Fatalf("something a terminal obeys in %q", line)
				}
				if m.look.ascii && strings.ContainsFunc(line, func(r rune) bool { return r > unicode.MaxASCII }) {
					t.Fatalf("not ASCII: %q", line)
				}
			}
		}
		check()
		for range 12 {
			m.Update(keyMsg(keys[rnd.IntN(len(keys))]))
			check()
		}
		for _, r := range typed {
			m.Update(keyMsg(string(r)))
			check()
		}
		m.apply(randomUpdate(rnd, text))
		m.width, m.height = rnd.IntN(200), rnd.IntN(60)
		w, h = m.width, m.height
		check()
	})
}

var colour = ansiColour()

func randomUpdate(rnd *rand.Rand, text string) state.Update {
	phases := []state.Phase{state.Building, state.Starting, state.Serving, state.Failed, state.Crashed, state.Stopped, state.Waiting, state.Asleep, state.Conflict, "?"}
	kinds := []state.TroubleKind{"", state.TroubleBuild, state.TroubleStart, state.TroubleCrash, state.TroubleRollback, state.TroubleConflict, "?"}
	at := func() time.Time { return noon.Add(time.Duration(rnd.Int64N(int64(time.Hour)))) }
	u := state.Update{Cursor: state.Cursor{Seq: rnd.Uint64()}, Snapshot: &state.Snapshot{Server: state.Server{Root: "/" + text, URLs: []string{text}, Paused: rnd.IntN(2) == 0, Stopping: rnd.IntN(5) == 0, StopBy: at()}}}
	if rnd.IntN(3) == 0 {
		u.Snapshot.Server.ConfigError = text + "\n" + text
	}
	for i := range rnd.IntN(30) {
		p := state.Page{Route: fmt.Sprintf("/%d%s", i, text), Dir: text, Phase: phases[rnd.IntN(len(phases))], ServingBuild: rnd.IntN(3), Trouble: state.Trouble{Kind: kinds[rnd.IntN(len(kinds))], Text: text, LastOutput: text}, Log: text, Restarts: rnd.IntN(1e6), Next: at(), Swap: state.Seconds(rnd.Int64N(1e12))}
		p.Build = state.Build{Number: rnd.IntN(1e4), Trigger: text, Started: at(), Took: state.Seconds(rnd.Int64N(1e12))}
		for range rnd.IntN(4) {
			p.Build.Problems = append(p.Build.Problems, state.Problem{File: text, Line: rnd.IntN(9), Column: rnd.IntN(200), Message: text + "\n\t" + text})
		}
		for range rnd.IntN(3) {
			p.Workers = append(p.Workers, state.Worker{Role: []state.Role{state.RoleStarting, state.RoleServing, state.RoleDraining}[rnd.IntN(3)], PID: rnd.IntN(1e7), Port: rnd.IntN(65536), FailedChecks: rnd.IntN(3), Since: at(), Env: []string{text}})
		}
		u.Snapshot.Pages = append(u.Snapshot.Pages, p)
		u.Loads = append(u.Loads, state.Load{Page: p.Route, Rate: rnd.Float64() * 1e6, P95: state.Seconds(rnd.Int64N(1e13)), Memory: rnd.Int64N(1 << 45), CPU: rnd.IntN(10000), Draining: rnd.IntN(2), Upgraded: rnd.IntN(2000), InFlight: rnd.IntN(2)})
		for n := range rnd.IntN(5) {
			u.Lines = append(u.Lines, state.Line{Seq: uint64(n), Page: p.Route, Text: strings.Repeat(text, rnd.IntN(4)), Time: at()})
		}
		u.Events = append(u.Events, state.Event{Time: at(), Level: state.Level(rnd.IntN(4) - 1), Message: text, Attrs: []state.Attr{state.String("page", p.Route), state.String("err", text)}})
	}
	return u
}
