package tui

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/editor"
	"tqserver/internal/state"
)

// line is a line that a page printed.
func line(page, text string) state.Update {
	return state.Update{Lines: []state.Line{{Time: noon, Page: page, Text: text}}}
}

func TestKeysAskForCommands(t *testing.T) {
	for keys, want := range map[string]state.Command{
		"r": {Verb: state.Restart, Page: "/api"}, "R": {Verb: state.Restart},
		"b": {Verb: state.Rebuild, Page: "/api"}, "B": {Verb: state.Rebuild},
		"s": {Verb: state.Start, Page: "/api"}, "x": {Verb: state.Stop, Page: "/api"}, "X": {Verb: state.Kill, Page: "/api"},
		"p": {Verb: state.Pause}, "c": {Verb: state.Reload},
	} {
		m, src := screenOf(t, 120, 35, false, shop(""))
		press(m, "j", keys)
		if diff := cmp.Diff([]state.Command{want}, src.commands); diff != "" {
			t.Errorf("%s (-want +got):\n%s", keys, diff)
		}
	}
}

func TestOnlyTheErrorOfACommandComesBack(t *testing.T) {
	m, src := screenOf(t, 120, 35, false, shop(""))
	press(m, "x")
	if m.toast.text != "" {
		t.Errorf("a toast for success: %q", m.toast.text)
	}
	src.refusal = errors.New("/ is already stopped")
	press(m, "x")
	if !strings.Contains(m.View(), "/ is already stopped") {
		t.Errorf("the error is not shown:\n%s", m.View())
	}
	n := m.toast.number
	m.Update(expireToastMsg(n - 1))
	if m.toast.text == "" {
		t.Error("an older word's end takes a newer one away")
	}
	m.Update(expireToastMsg(n))
	if m.toast.text != "" {
		t.Error("the word stays")
	}
}

func TestQuitAsksOnlyIfSomebodyWouldWait(t *testing.T) {
	m, src := screenOf(t, 120, 35, false, state.Update{})
	press(m, "q")
	if len(src.commands) != 1 || src.commands[0].Verb != state.Shutdown {
		t.Fatalf("commands %v", src.commands)
	}
	busy := shop("")
	for _, answer := range []struct {
		key      string
		commands int
		atOnce   bool
	}{{"n", 0, false}, {"esc", 0, false}, {"y", 1, false}, {"Q", 0, true}, {"ctrl+c", 0, true}} {
		m, src := screenOf(t, 120, 35, false, busy)
		press(m, "q")
		if !strings.Contains(m.View(), "15 requests are under way") {
			t.Fatalf("it does not ask:\n%s", m.View())
		}
		press(m, answer.key)
		if len(src.commands) != answer.commands || m.atOnce != answer.atOnce {
			t.Errorf("%s: commands %v, at once %v", answer.key, src.commands, m.atOnce)
		}
	}
	m, _ = screenOf(t, 120, 35, false, busy)
	press(m, "q")
	for route := range m.seen.Loads {
		m.apply(state.Update{Loads: []state.Load{{Page: route}}})
	}
	if !strings.Contains(m.View(), "No requests are under way any more. Quit?") {
		t.Errorf("it asks as if somebody waited:\n%s", m.View())
	}
	m, _ = screenOf(t, 120, 35, false, state.Update{})
	press(m, "ctrl+c", "ctrl+c")
	if !m.atOnce {
		t.Error("ctrl+c twice does not quit at once")
	}
	m, src = screenOf(t, 120, 35, false, state.Update{})
	press(m, "esc", "esc", "esc")
	if len(src.commands) > 0 {
		t.Error("esc quits")
	}
}

func TestTheEndSaysWhatItWaitsFor(t *testing.T) {
	m, _ := screenOf(t, 120, 35, false, shop(""))
	server := m.seen.Server
	server.Stopping, server.StopBy = true, m.now.Add(4*time.Second)
	m.apply(state.Update{Events: []state.Event{{Server: &server}}})
	if want := "15 requests under way, 4s left · Q to stop now"; !strings.Contains(m.View(), want) {
		t.Errorf("no %q in\n%s", want, m.View())
	}
}

func TestNothingButAKeyMovesTheSelection(t *testing.T) {
	m, _ := screenOf(t, 120, 35, false, shop(""))
	press(m, "j", "j")
	for _, route := range []string{"/a", "/aa", "/zz"} {
		p := serving(route, 1, 1, 1, ms, ms, ms)
		m.apply(state.Update{Events: []state.Event{{Page: &p}}})
	}
	if m.routes.selected != "/api/users" {
		t.Errorf("new pages select %s", m.routes.selected)
	}
	press(m, "S")
	if m.routes.selected != "/api/users" {
		t.Errorf("another order selects %s", m.routes.selected)
	}
	press(m, "S", "S", "S", "S")
	gone := m.seen.Pages["/api/users"]
	m.apply(state.Update{Events: []state.Event{{Page: &gone, Removed: true}}})
	if m.routes.selected != "/blog" {
		t.Errorf("when the page is gone %s is selected, want its neighbour", m.routes.selected)
	}
}

func TestBeforeAnyKeyTheFirstPageIsSelected(t *testing.T) {
	m, _ := screenOf(t, 120, 35, false, shop(""))
	p := serving("", 1, 1, 1, ms, ms, ms)
	for _, p.Route = range []string{"/b", "/a", "/"} {
		m.apply(state.Update{Events: []state.Event{{Page: &p}}})
	}
	if m.routes.selected != "/" {
		t.Errorf("%s is selected", m.routes.selected)
	}
}

func TestALogThatIsReadStandsStill(t *testing.T) {
	m, _ := screenOf(t, 100, 30, false, shop(""))
	for n := range 100 {
		m.apply(line("/", fmt.Sprintf("line %03d", n)))
	}
	press(m, "2", "k", "k", "ctrl+u")
	before := m.logPane().render(100, 10)
	for n := range 500 {
		m.apply(line("/", fmt.Sprintf("later %03d", n)))
	}
	if diff := cmp.Diff(before, m.logPane().render(100, 10)); diff != "" {
		t.Errorf("it moved (-before +after):\n%s", diff)
	}
	if !strings.Contains(m.View(), "SCROLLED") {
		t.Error("it does not say so")
	}
	press(m, "G")
	if rows := m.logPane().render(100, 10); !strings.Contains(rows[9], "later 499") {
		t.Errorf("G does not follow again:\n%s", strings.Join(rows, "\n"))
	}
}

func TestALogThatIsReadOutlivesItsLines(t *testing.T) {
	m, _ := screenOf(t, 100, 30, false, shop(""))
	for n := range 100 {
		m.apply(line("/", fmt.Sprintf("line %03d", n)))
	}
	press(m, "2", "k", "v", "k")
	for n := range 2 * keptEntries {
		m.apply(line("/", fmt.Sprintf("later %d", n)))
		if n%1000 == 0 {
			m.View()
		}
	}
	if rows := m.logPane().render(100, 10); !strings.Contains(rows[0], fmt.Sprintf("later %d", keptEntries)) {
		t.Errorf("the oldest line that is kept is not the first:\n%s", strings.Join(rows, "\n"))
	}
	press(m, "y", "k", "j", "G", "k")
}

func TestFiltersStayWithTheirPage(t *testing.T) {
	m, _ := screenOf(t, 120, 40, false, shop(""))
	for _, text := range []string{"apple", "Pear", "level=WARN plum", "ERROR apple"} {
		m.apply(line("/", text))
		m.apply(line("/blog", text))
	}
	shown := func() (texts []string) {
		v, r := m.view()
		for _, n := range v.shown {
			texts = append(texts, r.at(n).text)
		}
		return texts
	}
	check := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, shown()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	press(m, "&", "a", "p", "p", "l", "e", "enter")
	check("keep apple", "apple", "ERROR apple")
	m.apply(line("/", "one apple more"))
	m.apply(line("/", "no fruit"))
	check("and what comes later", "apple", "ERROR apple", "one apple more")
	press(m, "!", "E", "R", "enter")
	check("drop ER, with capitals", "apple", "one apple more")
	press(m, "j", "j", "j")
	check("another page", "apple", "Pear", "level=WARN plum", "ERROR apple")
	press(m, "l", "l")
	check("its own level", "level=WARN plum", "ERROR apple")
	press(m, "k", "k", "k")
	check("back again", "apple", "one apple more")
	press(m, "&", "backspace", "backspace", "backspace", "backspace", "backspace", "enter", "!", "esc")
	check("keep all, and a prompt that was left", "hello from the root", "apple", "Pear", "level=WARN plum", "one apple more", "no fruit")
	press(m, "C")
	check("cleared")
	m.apply(line("/", "new"))
	check("after that", "new")
}

func TestSearchGoesAround(t *testing.T) {
	m, _ := screenOf(t, 120, 40, false, state.Update{})
	p := serving("/", 1, 1, 1, ms, ms, ms)
	m.apply(state.Update{Events: []state.Event{{Page: &p}}})
	for _, text := range []string{"a hit", "nothing", "Hit two", "nothing", "third hit"} {
		m.apply(line("/", text))
	}
	at := func() string {
		v, r := m.view()
		return r.at(v.cursor).text
	}
	press(m, "2", "/", "h", "i", "t", "enter")
	for _, step := range []struct{ key, want string }{
		{"n", "a hit"}, {"n", "Hit two"}, {"n", "third hit"}, {"n", "a hit"}, {"N", "third hit"}, {"N", "Hit two"},
	} {
		press(m, step.key)
		if at() != step.want {
			t.Errorf("%s goes to %q, want %q", step.key, at(), step.want)
		}
	}
	press(m, "/", "backspace", "backspace", "backspace", "H", "enter")
	if at() != "Hit two" {
		t.Errorf("a capital finds %q", at())
	}
	press(m, "n")
	if at() != "Hit two" {
		t.Errorf("the only hit is left for %q", at())
	}
}

func TestTheBuildPaneComesAndGoesByItself(t *testing.T) {
	m, _ := screenOf(t, 120, 35, false, shop(projectFolder(t)))
	if !strings.Contains(m.View(), "[3] Build  /api") {
		t.Fatal("no Build pane though a page is broken")
	}
	press(m, "3", "j")
	if m.focus != inBuild || m.errors.index != 1 {
		t.Errorf("focus %d, error %d", m.focus, m.errors.index)
	}
	mended := serving("/api", 19, 1, 1, ms, ms, ms)
	m.apply(state.Update{Events: []state.Event{{Page: &mended}}})
	if strings.Contains(m.View(), "[3] Build") {
		t.Error("the Build pane stays though nothing is broken")
	}
	press(m, "j")
	if m.routes.selected != "/api" {
		t.Errorf("j in a pane that is gone selects %s", m.routes.selected)
	}
	press(m, "3")
	if !strings.Contains(m.View(), "nothing is broken") {
		t.Error("3 says nothing")
	}
}

func TestKeysThatMeanNothingSaySo(t *testing.T) {
	m, _ := screenOf(t, 120, 35, false, shop(""))
	press(m, "f9")
	if !strings.Contains(m.View(), "f9 does nothing here; ? shows the keys") {
		t.Error(m.View())
	}
	m, _ = screenOf(t, 120, 35, false, state.Update{})
	for _, key := range []string{"r", "x", "i", "u", "o", "e", "n", "y", "]"} {
		press(m, "esc", key)
		if m.toast.text == "" {
			t.Errorf("%s without a page says nothing", key)
		}
		m.toast.text = ""
	}
}

func TestRebindingsAreCheckedAndShown(t *testing.T) {
	_, err := newKeymap([]Rebinding{
		{Place: "config/tui.yaml:1", Action: "restrat", Keys: []string{"r"}},
		{Place: "config/tui.yaml:2", Action: "restart", Keys: []string{"ctrl-r", "hyper+x"}},
		{Place: "config/tui.yaml:3", Action: "open", Keys: []string{"q"}},
	})
	want := `config/tui.yaml:1: there is no action "restrat"; docs/terminal.md lists them
config/tui.yaml:2: there is no key "ctrl-r": write a character, or a name such as enter, tab, up, pgdown, f5, ctrl+r, alt+x
config/tui.yaml:2: there is no key "hyper+x": write a character, or a name such as enter, tab, up, pgdown, f5, ctrl+r, alt+x
config/tui.yaml:3: the key q is bound to open and to quit`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	keys, err := newKeymap([]Rebinding{{Place: "f:1", Action: "restart", Keys: []string{"f5"}}, {Place: "f:2", Action: "stop", Keys: []string{"r"}}})
	if err != nil {
		t.Fatal(err)
	}
	m, src := screenOf(t, 120, 35, false, shop(""))
	m.keys = keys
	press(m, "f5", "r", "x")
	if diff := cmp.Diff([]state.Command{{Verb: state.Restart, Page: "/"}, {Verb: state.Stop, Page: "/"}}, src.commands); diff != "" {
		t.Error(diff)
	}
	m.toast.text = ""
	if !strings.Contains(m.View(), "f5 restart") || !strings.Contains(m.View(), "r stop") {
		t.Errorf("the footer shows other keys:\n%s", m.View())
	}
}

func TestEveryActionHasItsOwnKeyAndHelp(t *testing.T) {
	keys, err := newKeymap(nil)
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]action)
	for _, b := range keys.table {
		if b.help == "" || len(b.keys) == 0 {
			t.Errorf("%s has no help or no key", b.action)
		}
		for _, key := range b.keys {
			if used[key] != "" || !knownKey(key) {
				t.Errorf("%s of %s is no key of its own", key, b.action)
			}
			used[key] = b.action
		}
	}
}

func TestLevelsAreFoundWhereTheyAreWritten(t *testing.T) {
	for text, want := range map[string]state.Level{
		`time=2026-11-24T14:03:11 level=WARN msg=x`: state.LevelWarn,
		`2026/11/24 14:03:11 ERROR no`:              state.LevelError,
		`{"time":"x","level":"error","msg":"y"}`:    state.LevelError,
		`{"time":"x","level":"ERROR","msg":"y"}`:    state.LevelError,
		"panic: runtime error":                      state.LevelError,
		"level=debug msg=x":                         state.LevelDebug,
		"TERRORS of old":                            state.LevelInfo,
		"no errors":                                 state.LevelInfo,
		"":                                          state.LevelInfo,
		"WARNINGS":                                  state.LevelInfo,
		"[WARNING] x":                               state.LevelWarn,
	} {
		if got := levelOf(text); got != want {
			t.Errorf("levelOf(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestNumbersAreShortAndHaveUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "—", 10 * time.Microsecond: "0.1ms", 3140 * time.Microsecond: "3.1ms", 88 * ms: "88ms", 999 * ms: "999ms", 1240 * ms: "1.2s", 12 * time.Second: "12s", 5 * time.Minute: "5m",
	} {
		if got := took(d); got != want {
			t.Errorf("took(%v) = %s, want %s", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "<1m", 59 * time.Second: "<1m", time.Minute: "1m", 124 * time.Minute: "2h04", 49 * time.Hour: "2d"} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 4118: "4,118", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestTheEditorIsOpenedAtTheLine(t *testing.T) {
	for set, want := range map[string][]string{
		"TQ_EDITOR=nano VISUAL=x": {"nano", "+7", "f.go"},
		"VISUAL=code_--wait":      {"code", "--wait", "-g", "f.go:7"},
		"EDITOR=/usr/bin/hx":      {"/usr/bin/hx", "f.go:7"},
	} {
		env := func(key string) string {
			for kv := range strings.FieldsSeq(set) {
				if value, ok := strings.CutPrefix(kv, key+"="); ok {
					return strings.ReplaceAll(value, "_", " ")
				}
			}
			return ""
		}
		name, args, _ := editor.Command(env, "f.go", 7)
		if diff := cmp.Diff(want, append([]string{name}, args...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", set, diff)
		}
	}
}

func TestTheEnvironmentSaysHowTheScreenLooks(t *testing.T) {
	for _, tt := range []struct {
		env              string
		coloured, asciis bool
	}{
		{"LANG=en_US.UTF-8 TERM=xterm-256color", true, false},
		{"LC_ALL=C.utf8 TERM=xterm", true, false},
		{"LC_ALL=C LANG=en_US.UTF-8 TERM=xterm", true, true},
		{"TERM=xterm", true, true},
		{"LANG=de_DE.UTF-8 TERM=linux", true, true},
		{"LANG=de_DE.UTF-8 TERM=xterm TQ_ASCII=1", true, true},
		{"LANG=de_DE.UTF-8 TERM=xterm NO_COLOR=1", false, false},
	} {
		env := func(key string) string {
			for kv := range strings.FieldsSeq(tt.env) {
				if value, ok := strings.CutPrefix(kv, key+"="); ok {
					return value
				}
			}
			return ""
		}
		look := lookOf(env)
		if coloured := look.bad.Render("x") != "x"; coloured != tt.coloured || look.ascii != tt.asciis {
			t.Errorf("%s: coloured %v, ASCII %v", tt.env, coloured, look.ascii)
		}
	}
}

func TestRequestsCanBeHiddenAndAreOfALevel(t *testing.T) {
	m, _ := screenOf(t, 120, 35, false, shop(""))
	press(m, "j", "2")
	shown := func() (n int) {
		v, r := m.view()
		for _, i := range v.shown {
			if r.at(i).access {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		key  string
		want int
	}{{"2", 3}, {"h", 0}, {"h", 3}, {"l", 3}, {"l", 2}, {"l", 1}} {
		if press(m, step.key); shown() != step.want {
			t.Errorf("after %s %d requests are shown, want %d", step.key, shown(), step.want)
		}
	}
}

func TestALongRequestKeepsItsStatusInSight(t *testing.T) {
	m, _ := screenOf(t, 80, 24, false, shop(""))
	press(m, "j", "2")
	for _, line := range m.logPane().render(60, 20) {
		if strings.Contains(line, "GET /api/items?") {
			if !strings.HasSuffix(strings.TrimRight(line, " "), "… 200 1.2 ms 3.4 kB") {
				t.Errorf("%q", line)
			}
			return
		}
	}
	t.Error("it is not shown")
}

func TestALogHoldsSoManyLinesAndBytes(t *testing.T) {
	var short, long ring
	for i := range keptEntries + 5 {
		short.add(entry{text: strconv.Itoa(i)})
	}
	if oldest := short.at(short.first); short.next-short.first != keptEntries || oldest.text != "5" {
		t.Errorf("%d short lines are kept, from %q", short.next-short.first, oldest.text)
	}
	text := strings.Repeat("x", 64<<10)
	for range 3 * keptEntries {
		long.add(entry{text: text})
	}
	if n := long.next - long.first; n != keptBytes/len(text) || long.bytes != keptBytes {
		t.Errorf("%d long lines are kept, of %d bytes", n, long.bytes)
	}
	for i, e := range long.entries {
		if n := long.next - keptEntries + (i-long.next%keptEntries+keptEntries)%keptEntries; (e.text != "") != (n >= long.first) {
			t.Fatalf("line %d, the oldest is %d: %d bytes", n, long.first, len(e.text))
		}
	}
}

func TestTheInspectorBeginsWithWhatTheServerSets(t *testing.T) {
	page := serving("/", 1, 41002, 9001, ms, ms, ms)
	page.Workers[0].Env = []string{"API_TOKEN=***", "GOMAXPROCS=1", "HOME=/root", "TQ_PORT=9001", "ZONE=x"}
	m, _ := screenOf(t, 120, 40, false, state.Update{Events: []state.Event{{Page: &page}}})
	lines := strings.Join(m.facts("/"), "\n")
	at := -1
	for _, want := range []string{"   worker ", "   environment  GOMAXPROCS=1", "\n                TQ_PORT=9001", "   health\n", "   builds\n", "   inherited    API_TOKEN=***", "\n                HOME=/root", "\n                ZONE=x"} {
		i := strings.Index(lines, want)
		if i <= at {
			t.Errorf("%q is missing, or not where it belongs:\n%s", want, lines)
		}
		at = i
	}
}

func TestLinesStandInTheOrderOfTheirTime(t *testing.T) {
	at := func(ms int, text string, access bool) state.Line {
		return state.Line{Time: noon.Add(time.Duration(ms) * time.Millisecond), Page: "/", Text: text, Access: access}
	}
	texts := func(m *model) (all []string) {
		v, r := m.view()
		for _, n := range v.shown {
			all = append(all, r.at(n).text)
		}
		return all
	}
	page := serving("/", 1, 1, 1, ms, ms, ms)
	for _, keys := range [][]string{{"2"}, {"2", "a"}} {
		m, _ := screenOf(t, 120, 40, false, state.Update{Events: []state.Event{{Page: &page}}})
		press(m, keys...)
		m.apply(state.Update{Lines: []state.Line{at(0, "first", false), at(30, "third", false), at(20, "GET second", true)}})
		if diff := cmp.Diff([]string{"first", "GET second", "third"}, texts(m)); diff != "" {
			t.Errorf("within an update (-want +got):\n%s", diff)
		}
		m.apply(state.Update{Lines: []state.Line{at(60, "fifth", false), {Time: noon.Add(64*ms + 300*time.Microsecond), Page: "/", Text: "sixth"}}})
		texts(m)
		m.apply(state.Update{Lines: []state.Line{at(31, "GET fourth", true), at(64, "GET seventh", true)},
			Events: []state.Event{{Time: noon.Add(62 * ms), Message: "an event", Attrs: []state.Attr{state.String("page", "/")}}}})
		want := []string{"first", "GET second", "third", "GET fourth", "fifth", "an event", "sixth", "GET seventh", "GET a long time ago"}
		m.apply(state.Update{Lines: []state.Line{at(1, "GET a long time ago", true)}})
		if diff := cmp.Diff(want, texts(m)); diff != "" {
			t.Errorf("in later ones (-want +got):\n%s", diff)
		}
		press(m, "&", "G", "E", "T", "enter")
		m.apply(state.Update{Lines: []state.Line{at(100, "no", false), at(110, "GET no", true)}})
		texts(m)
		m.apply(state.Update{Lines: []state.Line{at(90, "GET before", true), at(80, "no", false)}})
		want = []string{"GET second", "GET fourth", "GET seventh", "GET a long time ago", "GET before", "GET no"}
		if diff := cmp.Diff(want, texts(m)); diff != "" {
			t.Errorf("with a filter (-want +got):\n%s", diff)
		}
		press(m, "k")
		m.View()
		m.apply(state.Update{Lines: []state.Line{at(85, "GET late", true)}})
		if all := texts(m); all[len(all)-1] != "GET late" {
			t.Errorf("what is read moved: %q", all)
		}
	}
}

func TestALineThatHasNotEndedIsShownAndReplaced(t *testing.T) {
	page := serving("/", 1, 1, 1, ms, ms, ms)
	for _, keys := range [][]string{{"2"}, {"2", "a"}} {
		m, _ := screenOf(t, 120, 40, false, state.Update{Events: []state.Event{{Page: &page}}})
		press(m, keys...)
		say := func(pid int, text string, open bool) {
			m.apply(state.Update{Lines: []state.Line{{Time: noon, Page: "/", PID: pid, Text: text, Partial: open}}})
		}
		check := func(want ...string) {
			t.Helper()
			v, r := m.view()
			var got []string
			for _, n := range v.shown {
				got = append(got, r.at(n).text)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		}
		say(1, "progress 10%", true)
		check("progress 10%")
		say(1, "progress 20%", true)
		check("progress 20%")
		say(2, "another", false)
		say(1, "progress 30%", true)
		check("another", "progress 30%")
		m.apply(state.Update{Lines: []state.Line{{Time: noon, Page: "/", Text: "GET / 200", Access: true}}})
		say(1, "progress 100%", false)
		say(1, "next", false)
		check("another", "GET / 200", "progress 100%", "next")
		say(1, "hanging", true)
		for n := range keptEntries {
			say(2, strconv.Itoa(n), false)
		}
		say(1, "hanging no more", false)
		v, r := m.view()
		if len(v.shown) != keptEntries || r.at(v.shown[keptEntries-1]).text != "hanging no more" || len(m.logs.store.partial) > 0 {
			t.Errorf("%d lines, the last is %q, open: %v", len(v.shown), r.at(v.shown[keptEntries-1]).text, m.logs.store.partial)
		}
	}
}

func TestACommandOfTheEngineNeedsNoLineOfItsOwn(t *testing.T) {
	table := bindingsWith(append(state.Commands(), state.CommandSpec{Verb: "example", Scope: state.ScopePage, Key: "f12", Help: "do something new"}))
	b := table[len(table)-1]
	if b.action != "example" || b.keys[0] != "f12" || b.help != "do something new" {
		t.Fatalf("the last line is %+v", b)
	}
	m, got := screenOf(t, 80, 24, false, shop(t.TempDir()))
	if c := b.act(m); c != nil {
		c()
	}
	if want := (state.Command{Verb: "example", Page: "/"}); !slices.Contains(got.commands, want) {
		t.Errorf("the engine gets %v, want %v", got.commands, want)
	}
}

func TestViewChangesNothing(t *testing.T) {
	m, _ := screenOf(t, 120, 35, false, shop(t.TempDir()))
	press(m, "2", "k", "3", "]")
	before := fmt.Sprintf("%+v %+v %+v %+v", m.routes, m.errors, *m.logs.views[m.shownLog()], *m.logs.store.of(m.shownLog()))
	first := m.View()
	m.routes.selected = "/search" // as if Update had forgotten to refresh
	m.View()
	m.routes.selected = "/"
	if after := fmt.Sprintf("%+v %+v %+v %+v", m.routes, m.errors, *m.logs.views[m.shownLog()], *m.logs.store.of(m.shownLog())); after != before || len(m.logs.views) != 1 {
		t.Errorf("it changed %s into %s, and there are %d views", before, after, len(m.logs.views))
	}
	if m.View() != first {
		t.Error("it draws something else the second time")
	}
}
