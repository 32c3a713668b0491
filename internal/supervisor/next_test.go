package supervisor

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/build"
	"tqserver/internal/config"
	"tqserver/internal/state"
)

var update = flag.Bool("update", false, "write the table of decisions and its drawing anew")

var epoch = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// play is a page to which events happen one after another, a second apart.
type play struct {
	page
	now situation
}

func newPlay() *play {
	cfg := config.Default("/site")
	return &play{
		page: page{route: "/a", dir: "/site/pages/a", root: "/site", cfg: settings{worker: cfg.Worker("/a"), debounce: 50 * time.Millisecond}, seats: make([]seat, 1)},
		now:  situation{time: epoch, log: "/site/logs/a.log", firstPort: 9000, lastPort: 9009},
	}
}

func (p *play) happen(e event) []effect {
	p.now.time = p.now.time.Add(time.Second)
	var effects []effect
	p.page, effects = next(p.page, e, p.now)
	return effects
}

// then makes something of a kind happen that must be possible.
func (p *play) then(names ...string) *play {
	for _, name := range names {
		e, why := happenings[slices.IndexFunc(happenings, func(h happening) bool { return h.name == name })].of(p)
		if why != "" {
			panic(name + ": " + why)
		}
		p.happen(e)
	}
	return p
}

// stateOfPage is a state that a page of one worker can be in.
type stateOfPage struct {
	name   string
	reach  []string // what happens until then, after it was opened
	drawn  string   // as the drawing has it
	demand bool     // the page starts on demand
}

var statesOfPage = []stateOfPage{
	{name: "building, nothing serves", drawn: "building"},
	{name: "broken", reach: []string{"built: does not compile"}, drawn: "broken"},
	{name: "asks for a port", reach: []string{"built: new"}, drawn: "starting"},
	{name: "waits for a port", reach: []string{"built: new", "no port"}, drawn: "waiting"},
	{name: "starts", reach: []string{"built: new", "port claimed"}, drawn: "starting"},
	{name: "serves", reach: []string{"built: new", "port claimed", "started"}, drawn: "serving"},
	{name: "serves, builds", reach: []string{"built: new", "port claimed", "started", "saved"}, drawn: "serving"},
	{name: "serves, newest broken", reach: []string{"built: new", "port claimed", "started", "saved", "built: does not compile"}, drawn: "serving"},
	{name: "serves, next starts", reach: []string{"built: new", "port claimed", "started", "saved", "built: new", "port claimed"}, drawn: "replacing"},
	{name: "serves, next waits for a port", reach: []string{"built: new", "port claimed", "started", "saved", "built: new", "port claimed", "started", "saved", "built: new", "no port"}, drawn: "replacing"},
	{name: "serves, last drains", reach: []string{"built: new", "port claimed", "started", "saved", "built: new", "port claimed", "started"}, drawn: "serving"},
	{name: "gave its port to the next", reach: []string{"built: new", "port claimed", "started", "saved", "built: new", "no port"}, drawn: "waiting"},
	{name: "crashed, starts again", reach: []string{"built: new", "port claimed", "started", "exited", "port claimed"}, drawn: "starting"},
	{name: "crashed, pauses", reach: []string{"built: new", "port claimed", "start failed", "port claimed", "start failed"}, drawn: "crashed"},
	{name: "a start was given up", reach: []string{"built: new", "port claimed", "saved", "built: new"}, drawn: "starting"},
	{name: "sleeps", reach: []string{"built: new"}, drawn: "asleep", demand: true},
	{name: "woken up, serves", reach: []string{"built: new", "request waits", "port claimed", "started"}, drawn: "serving", demand: true},
	{name: "sleeps, builds", reach: []string{"built: new", "saved"}, drawn: "asleep", demand: true},
	{name: "stopped", reach: []string{"built: new", "port claimed", "started", "stop", "drained"}, drawn: "stopped"},
	{name: "stopped, build not over", reach: []string{"stop"}, drawn: "stopped"},
	{name: "ends", reach: []string{"built: new", "port claimed", "started", "server ends"}, drawn: "closing"},
}

// play returns a page in the state.
func (s stateOfPage) play() *play {
	p := newPlay()
	if s.demand {
		p.cfg.worker.Start = "on_demand"
	}
	p.happen(opened{})
	return p.then(s.reach...)
}

// happening is something that can happen to a page, or why it cannot.
type happening struct {
	name  string
	drawn string // as the drawing has it; empty if it does not show it
	of    func(p *play) (e event, impossible string)
}

func always(e event) func(*play) (event, string) {
	return func(*play) (event, string) { return e, "" }
}

func whileBuilding(e event) func(*play) (event, string) {
	return func(p *play) (event, string) {
		if p.building.id == 0 {
			return nil, "no build runs"
		}
		return e, ""
	}
}

// ofStart is an event of a start in one of some phases.
func ofStart(make func(id) event, phases ...startPhase) func(*play) (event, string) {
	return func(p *play) (event, string) {
		s := p.seats[0].start
		if s.id == 0 || !slices.Contains(phases, s.phase) {
			return nil, "no start is so far"
		}
		return make(s.id), ""
	}
}

func ofServing(make func(w worker) event) func(*play) (event, string) {
	return func(p *play) (event, string) {
		if p.seats[0].serving.id == 0 {
			return nil, "nothing serves"
		}
		return make(p.seats[0].serving), ""
	}
}

func command(verb state.Verb, seat int) func(*play) (event, string) {
	spec, err := state.Command{Verb: verb, Page: "/a", Seat: seat}.Spec()
	if err != nil {
		panic(err)
	}
	return always(commanded{spec, seat})
}

// ofAbandoned is an event of a start that was given up.
func ofAbandoned(e event) func(*play) (event, string) {
	return func(p *play) (event, string) {
		if p.abandoned == 0 {
			return nil, "no start was given up"
		}
		return e, ""
	}
}

// due is the time for something that was put off.
func due(of func(p *play) time.Time) func(*play) (event, string) {
	return func(p *play) (event, string) {
		at := of(p)
		if at.IsZero() {
			return nil, "it was not put off"
		}
		p.now.time = at
		return tick{}, ""
	}
}

func configure(change func(*settings), rebuild bool) func(*play) (event, string) {
	return func(p *play) (event, string) {
		cfg := p.cfg
		change(&cfg)
		return configured{who: 1000, cfg: cfg, rebuild: rebuild}, ""
	}
}

const nobody = id(999) // a worker that the page does not know any more

var happenings = []happening{
	{"saved", "save", func(p *play) (event, string) {
		return saved{change{file: "/site/pages/a/main.go", at: p.now.time.Add(time.Second)}}, ""
	}},
	{"built: new", "good build", func(p *play) (event, string) {
		e, why := whileBuilding(built{result: build.Result{Binary: fmt.Sprint("/bin/", p.buildNumber+1)}, took: time.Second})(p)
		return e, why
	}},
	{"built: the same", "", func(p *play) (event, string) {
		if p.newestGood.binary == "" {
			return nil, "there is none"
		}
		return whileBuilding(built{result: build.Result{Binary: p.newestGood.binary}, took: time.Second})(p)
	}},
	{"built: rolled back before", "", whileBuilding(built{result: build.Result{Binary: "/bin/bad", RolledBackTo: "/bin/old"}})},
	{"built: does not compile", "broken build", whileBuilding(built{result: build.Result{Problems: []state.Problem{{File: "main.go", Line: 1, Message: "broken"}}}})},
	{"built: the disk is full", "", whileBuilding(built{err: errors.New("no space left on device")})},
	{"built: stale", "", whileBuilding(built{result: build.Result{Binary: "/bin/stale", Stale: true}})},
	{"build cancelled", "", whileBuilding(built{err: context.Canceled})},
	{"learned", "", always(learned{id: nobody})},
	{"learned: stale", "", always(learned{id: nobody, stale: true})},

	{"request waits", "request", func(p *play) (event, string) {
		if p.serves() {
			return nil, "requests are served"
		}
		p.now.held = 1
		return requested{}, ""
	}},
	{"port claimed", "port", ofStart(func(w id) event { return portClaimed{worker: w, port: 9000 + int(w)%10} }, claiming, waiting)},
	{"port claimed for nobody", "", always(portClaimed{worker: nobody, port: 9009})},
	{"no port", "no port", ofStart(func(w id) event { return noPort{w} }, claiming, waiting)},
	{"port freed", "", always(portFreed{})},
	{"started", "ready", func(p *play) (event, string) {
		p.now.held = 0
		return ofStart(func(w id) event { return started{worker: w, pid: 100 + int(w), ready: epoch} }, starting)(p)
	}},
	{"start failed", "start failed", ofStart(func(w id) event { return startFailed{worker: w, pid: 100 + int(w), cause: "exit status 2"} }, starting)},
	{"start failed: port taken", "", ofStart(func(w id) event { return startFailed{worker: w, why: portWasTaken, cause: "taken"} }, starting)},
	{"start failed: binary gone", "binary gone", ofStart(func(w id) event { return startFailed{worker: w, why: binaryGone, cause: "gone"} }, starting)},
	{"start failed: no means", "", ofStart(func(w id) event { return startFailed{worker: w, why: noMeans, cause: "too many open files"} }, starting)},
	{"given up: started", "", ofAbandoned(started{worker: nobody, pid: 1})},
	{"given up: start failed", "", ofAbandoned(startFailed{worker: nobody, cause: "not wanted any more"})},
	{"given up: ended", "", ofAbandoned(discarded{nobody})},

	{"exited", "crash", ofServing(func(w worker) event { return exited{worker: w.id, pid: w.pid, cause: "exit status 2"} })},
	{"exited: nobody's", "", always(exited{worker: nobody})},
	{"spent", "max_requests", ofServing(func(w worker) event { return spent{w.id} })},
	{"healthy", "", ofServing(func(w worker) event { return probed{w.id, nil} })},
	{"unhealthy", "", ofServing(func(w worker) event { return probed{w.id, errors.New("no answer")} })},
	{"memory: little", "", ofServing(func(w worker) event { return memoryMeasured{w.id, 1, nil} })},
	{"drained", "", func(p *play) (event, string) {
		if len(p.draining) == 0 {
			return nil, "no worker drains"
		}
		return drained{p.draining[0].id, 0}, ""
	}},

	{"start", "start", command(state.Start, 0)},
	{"stop", "stop", command(state.Stop, 0)},
	{"kill", "", command(state.Kill, 0)},
	{"restart", "restart", command(state.Restart, 0)},
	{"restart of a worker", "", command(state.Restart, 1)},
	{"rebuild", "rebuild", command(state.Rebuild, 0)},

	{"configured: nothing new", "", configure(func(*settings) {}, false)},
	{"configured: for workers", "configuration", configure(func(s *settings) { s.worker.GoMaxProcs++ }, false)},
	{"configured: for builds", "", configure(func(*settings) {}, true)},
	{"configured: another worker", "", configure(func(s *settings) { s.worker.Instances = 2 }, false)},
	{"configured: start", "", configure(func(s *settings) {
		s.worker.Start = map[string]string{"always": "on_demand", "on_demand": "always"}[s.worker.Start]
	}, false)},
	{"moved", "", always(moved{dir: "/site/pages/a/index"})},
	{"contested", "", always(conflicted{"two folders"})},
	{"assets changed", "", always(assetsChanged{[]string{"/site/pages/a/style.css"}})},
	{"noted", "", always(noted{state.LevelWarn, "something", nil})},

	{"time to try again", "pause over", due(func(p *play) time.Time { return p.nextTry() })},
	{"time to build", "", due(func(p *play) time.Time { return p.rebuildAt })},
	{"time to check health", "", due(func(p *play) time.Time { return p.seats[0].healthAt })},
	{"time to look for a port", "", due(func(p *play) time.Time { return p.recheckAt })},
	{"time to sleep", "idle", due(func(p *play) time.Time {
		if p.idle.at.IsZero() {
			return time.Time{}
		}
		return p.idle.since.Add(p.cfg.worker.IdleStop)
	})},

	{"server ends", "end", always(shutDown{})},
	{"removed", "end", always(removed{})},
}

// summary describes a page in a line.
func summary(p page) string {
	var parts []string
	parts = append(parts, []string{"runs", "sleeps", "stopped", "ends"}[p.goal])
	if p.building.id != 0 {
		parts = append(parts, "builds")
	}
	for _, s := range p.seats {
		switch {
		case s.serving.id != 0:
			parts = append(parts, fmt.Sprint("serves ", s.serving.build))
		case !s.retry.at.IsZero():
			parts = append(parts, "pauses")
		}
		if s.start.id != 0 {
			phase := []string{"claims a port for", "waits for a port for", "starts", "has ready"}[s.start.phase]
			parts = append(parts, fmt.Sprint(phase, " ", s.start.build))
		}
	}
	if !p.retry.at.IsZero() {
		parts = append(parts, "tries again later")
	}
	if n := len(p.draining); n > 0 {
		parts = append(parts, fmt.Sprint("drains ", n))
	}
	if p.failure.Kind != "" {
		parts = append(parts, "newest fails")
	}
	return strings.Join(parts, ", ")
}

// drawnAs is the state in which the drawing shows a page.
func drawnAs(p page) string {
	s := p.seats[0]
	switch {
	case p.goal == closing:
		return "closing"
	case p.goal == stopped:
		return "stopped"
	case p.goal == asleep:
		return "asleep"
	case s.serving.id != 0 && s.start.id != 0:
		return "replacing"
	case s.serving.id != 0:
		return "serving"
	case s.start.id != 0 && s.start.phase == waiting:
		return "waiting"
	case s.start.id != 0:
		return "starting"
	case p.building.id != 0:
		return "building"
	case !p.nextTry().IsZero():
		return "crashed"
	}
	return "broken"
}

// effectNames lists effects.
func effectNames(effects []effect) string {
	var names []string
	for _, e := range effects {
		name := strings.TrimPrefix(strings.TrimPrefix(fmt.Sprintf("%T", e), "*"), "supervisor.")
		switch e := e.(type) {
		case route:
			switch {
			case e.refusal != nil:
				name = fmt.Sprintf("refuse %q", e.refusal.Title)
			case e.serving != nil:
				name = "route"
			default:
				name = "hold"
			}
		case *publish:
			if e.event.Message != "" {
				name = fmt.Sprintf("publish %q", e.event.Message)
			}
		case reply:
			if e.err != nil {
				name = fmt.Sprintf("reply %q", e.err)
			}
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// TestEveryEventInEveryState has everything happen in every state, and compares
// what is decided with testdata/next.txt. What cannot happen stands there with the
// reason.
func TestEveryEventInEveryState(t *testing.T) {
	var table strings.Builder
	drawing := make(map[[2]string][]string)
	for _, s := range statesOfPage {
		from := s.play()
		if got := drawnAs(from.page); got != s.drawn {
			t.Errorf("%s: drawn as %s, not %s", s.name, got, s.drawn)
		}
		fmt.Fprintf(&table, "\n%s (%s)\n", s.name, summary(from.page))
		for _, h := range happenings {
			p := s.play()
			e, impossible := h.of(p)
			if impossible != "" {
				fmt.Fprintf(&table, "  %-26s impossible: %s\n", h.name, impossible)
				continue
			}
			before := s.play().page
			now := p.now
			now.time = now.time.Add(time.Second)
			after, effects := next(p.page, e, now)
			if !reflect.DeepEqual(p.page, before) {
				t.Errorf("%s: %s changed the page that was given", s.name, h.name)
			}
			again, same := next(p.page, e, now)
			if !reflect.DeepEqual(after, again) || effectNames(effects) != effectNames(same) {
				t.Errorf("%s: %s is decided otherwise the second time", s.name, h.name)
			}
			fmt.Fprintf(&table, "  %-26s %s: %s\n", h.name, summary(after), effectNames(effects))
			if to := drawnAs(after); h.drawn != "" && to != s.drawn {
				edge := [2]string{s.drawn, to}
				if !slices.Contains(drawing[edge], h.drawn) {
					drawing[edge] = append(drawing[edge], h.drawn)
				}
			}
		}
	}
	golden(t, "testdata/next.txt", "", "", table.String())
	golden(t, "../../docs/architecture.md", "```mermaid\nstateDiagram-v2\n", "```\n", draw(drawing))
}

// draw draws the states and what leads from one to another, in Mermaid.
func draw(edges map[[2]string][]string) string {
	lines := []string{"  [*] --> building\n"}
	for edge, why := range edges {
		slices.Sort(why)
		if edge[1] == "closing" { // from everywhere
			continue
		}
		lines = append(lines, fmt.Sprintf("  %s --> %s: %s\n", edge[0], edge[1], strings.Join(why, ", ")))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// golden compares what stands in a file between two marks, or writes it anew.
func golden(t *testing.T, file, start, end, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), start)
	got, after, closed := rest, "", true
	if end != "" {
		got, after, closed = strings.Cut(rest, end)
	}
	switch {
	case !found || !closed:
		t.Fatalf("%s has nothing between %q and %q", file, start, end)
	case *update:
		if err := os.WriteFile(file, []byte(before+start+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case got != want:
		t.Errorf("%s: go test ./internal/supervisor -update writes this anew:\n%s", file, cmp.Diff(got, want))
	}
}
