package tui

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"tqserver/internal/project"
	"tqserver/internal/state"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	goleak.VerifyTestMain(m)
}

// noon is the time at which everything happens.
var noon = time.Date(2026, 11, 24, 14, 3, 11, 204e6, time.UTC)

// fakeSource records the commands that it gets.
type fakeSource struct {
	mu       sync.Mutex
	commands []state.Command
	refusal  error
}

func (a *fakeSource) Next(ctx context.Context, _ state.Cursor) (state.Update, error) {
	<-ctx.Done()
	return state.Update{}, ctx.Err()
}

func (a *fakeSource) Tail(context.Context, string, int) ([]state.Line, error) { return nil, nil }

func (a *fakeSource) Do(_ context.Context, c state.Command) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.commands = append(a.commands, c)
	return a.refusal
}

var _ state.Source = &fakeSource{}

// screenOf is a model of some size that was given an update.
func screenOf(t testing.TB, w, h int, colours bool, u state.Update) (*model, *fakeSource) {
	t.Helper()
	keys, err := newKeymap(nil)
	if err != nil {
		t.Fatal(err)
	}
	src := new(fakeSource)
	m := newModel(t.Context(), src, keys, newLook(colours, false), time.Millisecond, nil)
	m.width, m.height = w, h
	m.now = noon
	m.apply(u)
	m.now = noon.Add(10 * time.Second)
	return m, src
}

// press presses keys and carries out what they lead to, but for what waits.
func press(m *model, keys ...string) {
	for _, key := range keys {
		_, c := m.Update(keyMsg(key))
		perform(m, c)
	}
}

func perform(m *model, c tea.Cmd) {
	if c == nil {
		return
	}
	if strings.Contains(runtime.FuncForPC(reflect.ValueOf(c).Pointer()).Name(), ".later.") {
		return // a timer
	}
	done := make(chan tea.Msg, 1)
	go func() { done <- c() }() // ends soon, or with the model
	select {
	case msg := <-done:
		if batch, ok := msg.(tea.BatchMsg); ok {
			for _, c := range batch {
				perform(m, c)
			}
		} else if msg != nil {
			_, c := m.Update(msg)
			perform(m, c)
		}
	case <-time.After(30 * time.Second):
		panic("a command does not end")
	}
}

func keyMsg(key string) tea.KeyMsg {
	for t := tea.KeyType(-200); t < 200; t++ {
		if k := (tea.KeyMsg{Type: t}); t != tea.KeyRunes && k.String() == key {
			return k
		}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(key)}
}

func serving(route string, build, pid, port int, took, swap time.Duration, since time.Duration) state.Page {
	return state.Page{
		Route: route, Dir: "pages" + route, Phase: state.Serving, ServingBuild: build, Swap: state.Seconds(swap),
		Build:   state.Build{Number: build, Started: noon.Add(-time.Hour), Took: state.Seconds(took)},
		Log:     "logs" + route + "/worker_2026-11-24.log",
		Workers: []state.Worker{{Role: state.RoleServing, PID: pid, Port: port, Build: build, Since: noon.Add(-since), Binary: "/tmp/tqserver/bin/x", Env: []string{"API_TOKEN=***", "TQ_PORT=9001"}}},
	}
}

const ms = time.Millisecond

// shop is a project in which a lot goes on.
func shop(root string) state.Update {
	api := serving("/api", 17, 40511, 9002, 300*ms, 10*ms, 18*time.Minute)
	api.Phase, api.Restarts = state.Failed, 1
	api.Trouble = state.Trouble{Kind: state.TroubleBuild, Text: "the newest build failed"}
	api.Build = state.Build{Number: 18, Started: noon, Took: state.Seconds(319 * ms), Trigger: "pages/api/main.go", Problems: []state.Problem{
		{File: "pages/api/main.go", Line: 4, Column: 18, Message: "undefined: itms"},
		{File: "pages/api/main.go", Line: 5, Column: 2, Message: "declared and not used: it"},
	}}
	users := serving("/api/users", 3, 40872, 9007, 0, 0, 3*time.Minute)
	users.Phase, users.Build = state.Building, state.Build{Number: 4, Started: noon.Add(9600 * ms)}
	stopped := serving("/blog/feed", 2, 0, 0, 270*ms, 0, 0)
	stopped.Phase, stopped.Workers, stopped.ServingBuild = state.Stopped, nil, 0
	search := serving("/search", 1, 0, 0, 290*ms, 0, 0)
	search.Phase, search.Workers, search.ServingBuild, search.Restarts, search.Next = state.Crashed, nil, 0, 5, noon.Add(14*time.Second)
	port := serving("/zoo", 1, 0, 0, 290*ms, 0, 0)
	port.Phase, port.Workers, port.ServingBuild = state.Waiting, nil, 0
	pages := []state.Page{
		serving("/", 1, 41002, 9001, 312*ms, 9*ms, 124*time.Minute), api, users,
		serving("/blog", 1, 40633, 9003, 288*ms, 8*ms, time.Hour), stopped,
		serving("/checkout", 6, 41240, 9011, 301*ms, 11*ms, 4*time.Second),
		serving("/hooks", 1, 40634, 9004, 251*ms, 7*ms, 26*time.Hour), search,
		serving("/ws", 1, 40640, 9006, 295*ms, 9*ms, 124*time.Minute), port,
	}
	u := state.Update{Cursor: state.Cursor{Seq: 99}, Snapshot: &state.Snapshot{
		Server: state.Server{Version: "v1", Root: root, URLs: []string{"http://localhost:8080"}, Started: noon},
		Pages:  pages,
	}, Loads: []state.Load{
		{Page: "/", Requests: 99, Rate: 84.2, P50: state.Seconds(ms), P95: state.Seconds(3100 * time.Microsecond), Memory: 14 << 20, CPU: 1},
		{Page: "/api", Requests: 999, Rate: 121, P95: state.Seconds(6800 * time.Microsecond), Memory: 22 << 20, CPU: 4, InFlight: 1},
		{Page: "/checkout", Requests: 9, Rate: 2, P95: state.Seconds(88 * ms), Draining: 2, InFlight: 2, Memory: 31 << 20, CPU: 2},
		{Page: "/search", Requests: 9, Errors: 7},
		{Page: "/ws", Requests: 9, Rate: 0.3, Upgraded: 12, InFlight: 12, Memory: 16 << 20},
	}}
	page := state.String("page", "/api")
	u.Events = []state.Event{
		{Seq: 3, Time: noon.Add(3 * time.Second), Message: "swapped", Attrs: []state.Attr{page, state.Int("build", 17), state.Duration("took", 409*ms)}},
		{Seq: 5, Time: noon.Add(4 * time.Second), Level: state.LevelError, Message: "build failed", Attrs: []state.Attr{page, state.Int("build", 18), state.Duration("took", 319*ms), state.String("err", "a.go:1: x\nb.go:2: y")}},
		{Seq: 6, Time: noon.Add(5 * time.Second), Message: "listening", Attrs: []state.Attr{state.String("url", "http://localhost:8080")}},
	}
	for i, text := range []string{
		"cache warm items=412", "level=WARN msg=\"slow query\" took=212ms", "\x1b[31mcoloured\x1b[0m\tand \x07 tabbed", "ERROR no connection", "wide 世界 and combining e\u0301",
		"a line that is much longer than the screen is wide, because somebody wrote a whole story into it, and would not stop before it was told from its beginning to its very end",
	} {
		u.Lines = append(u.Lines, state.Line{Seq: uint64(7 + i), Time: noon.Add(time.Duration(6000+i*150) * ms), Page: "/api", Text: text})
	}
	for i, l := range []state.Line{
		{Page: "/api", Status: 200, Text: "GET /api/items?page=2&sort=name&direction=descending&of=everything&there=is 200 1.2 ms 3.4 kB"},
		{Page: "/api", Status: 404, Text: "GET /api/items/9 404 0.9 ms 120 B"},
		{Status: 404, Text: "GET /favicon.ico 404 0.1 ms 61 B"},
		{Page: "/api", Status: 502, Text: "POST /api/items 502 2.0 s 98 B"},
	} {
		l.Seq, l.Time, l.Access = uint64(20+i), noon.Add(time.Duration(7000+i*100)*ms), true
		u.Lines = append(u.Lines, l)
	}
	u.Lines = append(u.Lines, state.Line{Seq: 50, Time: noon.Add(8 * time.Second), Page: "/", Text: "hello from the root"})
	return u
}

const apiSource = `package main

func list() {
	for _, it := range itms {
		_ = it
	}
}
`

// projectFolder is a folder with the source that the errors of shop name.
func projectFolder(t testing.TB) string {
	root := filepath.Join(t.TempDir(), "myapp")
	file := filepath.Join(root, "pages", "api", "main.go")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(apiSource), 0o644)); err != nil {
		t.Fatal(err)
	}
	return root
}

// rowControl matches what keeps rows and columns in their places.
var rowControl = regexp.MustCompile("\x1b\\[([?]7[lh]|K|[0-9]+G)")

// golden compares a screen with the one that is kept.
func golden(t *testing.T, name string, m *model) {
	t.Helper()
	got := rowControl.ReplaceAllString(m.View(), "") + "\n"
	for i, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
		if w := width(line); w > m.width {
			t.Errorf("line %d is %d cells wide on a screen of %d", i, w, m.width)
		}
	}
	if lines := strings.Count(got, "\n"); lines > m.height {
		t.Errorf("%d lines on a screen of %d", lines, m.height)
	}
	file := filepath.Join("testdata", "screens", name+".txt")
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got, go test ./tui -update writes it anew):\n%s", file, diff)
	}
}

func TestScreens(t *testing.T) {
	root := projectFolder(t)
	for _, size := range [][2]int{{120, 35}, {80, 24}, {160, 50}, {60, 20}, {40, 10}, {80, 50}, {30, 5}} {
		for _, colours := range []bool{false, true} {
			look := ""
			if colours {
				look = "-coloured"
			}
			for _, tt := range []struct {
				name string
				keys []string
			}{
				{"routes", nil},
				{"broken", []string{"j"}},
				{"logs", []string{"j", "2", "a"}},
				{"build", []string{"3", "]"}},
				{"scrolled", []string{"j", "2", "k", "k", "w", "&", "e", "enter", "/", "l", "i", "n", "enter"}},
				{"full", []string{"j", "enter", "v", "k"}},
				{"filtered", []string{"/", "a", "p", "i"}},
				{"help", []string{"?"}},
				{"inspect", []string{"i"}},
				{"palette", []string{":", "r", "e"}},
				{"quit", []string{"q"}},
				{"zoom", []string{"j", "2", "z"}},
			} {
				m, _ := screenOf(t, size[0], size[1], colours, shop(root))
				press(m, tt.keys...)
				if trouble, ok := m.currentError(); ok {
					key := trouble.key()
					m.errors.source = excerpt{key, project.Excerpt(root, key.file, key.line)}
				}
				m.now, m.toast.text = noon.Add(10*time.Second), ""
				golden(t, fmt.Sprintf("%s-%dx%d%s", tt.name, size[0], size[1], look), m)
			}
		}
	}
}

// ansiColour matches what a frame colours with.
func ansiColour() *regexp.Regexp { return regexp.MustCompile("\x1b\\[[0-9;]*m") }
