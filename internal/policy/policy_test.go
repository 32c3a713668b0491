package policy

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"tqserver/internal/config"
)

// parse returns the configuration that a text stands for.
func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("server.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func request(length int64) *Exchange {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.ContentLength = length
	return &Exchange{Request: r, Route: "/"}
}

func TestTheLongestPathDecides(t *testing.T) {
	t.Parallel()
	table := Compile(parse(t, `
server: {max_body_bytes: 1}
access_log: {format: common}
paths:
  /a: {max_body_bytes: 2}
  /a/b: {access_log: {format: json, file: b.log}}
`), nil, nil)
	for path, want := range map[string]struct {
		limit  int64
		format string
	}{
		"/":      {1, "common"},
		"":       {1, "common"},
		"/ab":    {1, "common"},
		"/a":     {2, "common"},
		"/a/x":   {2, "common"},
		"/a/b":   {1, "json"},
		"/a/b/c": {1, "json"},
	} {
		p, x := table.Find(path), request(0)
		if refusal := p.Check(x); refusal != nil || x.MaxBody != want.limit || p.AccessLog.Format != want.format {
			t.Errorf("%q: limit %d, format %q, refused with %v; want %v", path, x.MaxBody, p.AccessLog.Format, refusal, want)
		}
	}
	if got := table.Paths(); len(got) != 3 {
		t.Errorf("paths %q", got)
	}
	if logs := table.AccessLogs(); !slices.Contains(logs, table.Find("/a/b").AccessLog) || len(logs) != 3 {
		t.Errorf("access logs %v", logs)
	}
}

func TestTheZeroTableLetsAllPass(t *testing.T) {
	t.Parallel()
	if refusal := new(Table).Find("/x").Check(request(1 << 40)); refusal != nil {
		t.Errorf("refused with %v", refusal)
	}
}

func TestABodyAboveTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	p := Compile(parse(t, "server: {max_body_bytes: 4}"), nil, nil).Find("/")
	for length, refused := range map[int64]bool{-1: false, 0: false, 4: false, 5: true} {
		x := request(length)
		if refusal := p.Check(x); (refusal == &BodyTooLarge) != refused || !refused && x.MaxBody != 4 {
			t.Errorf("%d bytes: refused with %v, limit %d", length, refusal, x.MaxBody)
		}
	}
	nowhere := request(5)
	nowhere.Route = ""
	if refusal := p.Check(nowhere); refusal != nil {
		t.Errorf("where there is no page: refused with %v", refusal)
	}
}

func TestTheFirstGateThatRefusesDecides(t *testing.T) {
	t.Parallel()
	var met []string
	gate := func(name string, refusal *Refusal) gateKind {
		return kind(func(config.PathSettings) string { return name }, func(string) Gate {
			return func(*Exchange) *Refusal { met = append(met, name); return refusal }
		})
	}
	limited := &Refusal{Status: http.StatusTooManyRequests, Header: http.Header{"Ratelimit-Limit": {"1"}}}
	table := compile(parse(t, ""), nil, nil, []gateKind{gate("first", nil), gate("second", limited), gate("third", &BodyTooLarge)})
	if got := table.Find("/").Check(request(0)); got != limited || !slices.Equal(met, []string{"first", "second"}) {
		t.Errorf("%v after %q", got, met)
	}
}

// counters are gates that let as many requests pass as max_body_bytes says. Each
// path has an option of its own if alone is true.
func counters(alone bool) []gateKind {
	gate := func(most int) Gate {
		var passed atomic.Int64
		return func(*Exchange) *Refusal {
			if passed.Add(1) > int64(most) {
				return &Refusal{Status: http.StatusTooManyRequests}
			}
			return nil
		}
	}
	if alone {
		return []gateKind{kind(
			func(s config.PathSettings) *int { return &s.MaxBodyBytes },
			func(most *int) Gate { return gate(*most) },
		)}
	}
	return []gateKind{kind(func(s config.PathSettings) int { return s.MaxBodyBytes }, gate)}
}

// passes counts the requests for a path that pass, of as many as are said.
func passes(table *Table, path string, requests int) (n int) {
	for range requests {
		if table.Find(path).Check(request(0)) == nil {
			n++
		}
	}
	return n
}

func TestAGateKeepsItsStateOverAReloadThatLeavesItsOption(t *testing.T) {
	t.Parallel()
	const one = "server: {max_body_bytes: 3}\npaths: {/a: {max_body_bytes: 2}}\n"
	for name, tt := range map[string]struct {
		before, now string
		wantAll     int // of ten more requests
		wantA       int
	}{
		"the same":             {one, one, 2, 1},
		"another option":       {one, one + "access_log: {format: json}\n", 2, 1},
		"another path":         {one, strings.Replace(one, "}}", "}, /b: {max_body_bytes: 9}}", 1), 2, 1},
		"that of the path":     {one, strings.Replace(one, "2", "5", 1), 2, 5},
		"that of all paths":    {one, strings.Replace(one, "3", "6", 1), 6, 1},
		"the path moves":       {one, strings.Replace(one, "/a", "/a/b", 1), 2, 2},
		"the path is put back": {"server: {max_body_bytes: 3}", one, 2, 2},
	} {
		for _, alone := range []bool{false, true} {
			before := compile(parse(t, tt.before), nil, nil, counters(alone))
			passes(before, "/", 1)
			if strings.Contains(tt.before, "/a:") {
				passes(before, "/a", 1)
			}
			now := compile(parse(t, tt.now), before, nil, counters(alone))
			if all, a := passes(now, "/", 10), passes(now, "/a/b", 10); all != tt.wantAll || a != tt.wantA {
				t.Errorf("%s (alone: %v): %d and %d pass, want %d and %d", name, alone, all, a, tt.wantAll, tt.wantA)
			}
		}
	}
}

func TestPathsThatInheritAnOptionHaveItsGateInCommon(t *testing.T) {
	t.Parallel()
	const text = "server: {max_body_bytes: 3}\npaths: {/a: {access_log: {format: json}}}\n"
	table := compile(parse(t, text), nil, nil, counters(false))
	if passes(table, "/", 2) != 2 || passes(table, "/a", 2) != 1 {
		t.Error("each path has a gate of its own")
	}
}

func TestWritersEndFromTheOutsideIn(t *testing.T) {
	t.Parallel()
	var ended []string
	writer := func(name string, end bool) Writer {
		return func(_ *Exchange, w http.ResponseWriter) (http.ResponseWriter, func(bool)) {
			w.Header().Add("Via", name)
			if !end {
				return w, nil
			}
			return w, func(whole bool) {
				if whole {
					name += " whole"
				}
				ended = append(ended, name)
				if name == "broken whole" {
					panic(name)
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		writers []Writer
		want    []string
	}{
		"both":   {[]Writer{writer("inner", true), writer("silent", false), writer("outer", true)}, []string{"outer whole", "inner whole"}},
		"broken": {[]Writer{writer("inner", true), writer("broken", true)}, []string{"broken whole", "inner"}},
	} {
		ended = nil
		p := &Policy{writers: tt.writers}
		w, end := p.Wrap(request(0), httptest.NewRecorder())
		func() {
			defer func() { recover() }()
			end(true)
		}()
		if !slices.Equal(ended, tt.want) || len(w.Header()["Via"]) != len(tt.writers) {
			t.Errorf("%s: %q end, want %q", name, ended, tt.want)
		}
	}
}

func TestOnlyDocumentsAreDressed(t *testing.T) {
	t.Parallel()
	dress := func(w http.ResponseWriter, _ *http.Request, route string) (http.ResponseWriter, func(bool)) {
		w.Header().Set("Dressed", route)
		return w, func(bool) {}
	}
	p := Compile(parse(t, ""), nil, dress).Find("/")
	for _, document := range []bool{true, false} {
		x := request(0)
		x.Route, x.Document = "/a", document
		w, end := p.Wrap(x, httptest.NewRecorder())
		if (w.Header().Get("Dressed") == "/a") != document || (end != nil) != document {
			t.Errorf("document: %v: %v", document, w.Header())
		}
	}
}
