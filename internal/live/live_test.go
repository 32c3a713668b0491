package live

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/state"
)

func TestTheFaceOfAPageChangesWithWhatItShows(t *testing.T) {
	t.Parallel()
	broken := state.Build{Number: 2, Problems: []state.Problem{{File: "a.go", Line: 3, Message: "undefined: x"}}}
	l := newLive(t)
	var faces []string
	see := func(p state.Page) page {
		p.Route = "/"
		l.follow(p)
		now, _ := l.page("/")
		face := strings.TrimPrefix(now.face, "10.")[:1]
		faces = append(faces, face)
		html, _ := l.Explain(t.Context(), Refused{Route: "/", Status: 503, Form: "text/html", RequestID: "ID"})
		if waits := strings.Contains(html, "data-tq-bar"); html != "" && (!strings.Contains(html, `data-tq-face="`+now.face+`"`) || waits != (face == "w")) || (html == "") != (face == "s" || face == "x") {
			t.Errorf("%+v has the face %s and is explained by %s", p, now.face, html)
		}
		return now
	}
	see(state.Page{Phase: state.Building})
	see(state.Page{Phase: state.Failed, Build: broken, Trouble: state.Trouble{Kind: state.TroubleBuild, Text: "the newest build failed"}})
	if p := see(state.Page{Phase: state.Building, Build: state.Build{Number: 3}}); p.trouble == nil {
		t.Error("what is being mended is forgotten")
	}
	see(state.Page{Phase: state.Starting, Build: state.Build{Number: 3}})
	if p := see(state.Page{Phase: state.Serving, ServingBuild: 3}); p.trouble != nil {
		t.Error("what is mended is not forgotten")
	}
	if p := see(state.Page{Phase: state.Failed, ServingBuild: 3, Build: broken, Trouble: state.Trouble{Kind: state.TroubleBuild, Text: "the newest build failed"}}); p.trouble == nil {
		t.Error("there is no trouble beside what serves")
	}
	see(state.Page{Phase: state.Crashed, Build: state.Build{Number: 4}})
	if p := see(state.Page{Phase: state.Starting, Build: state.Build{Number: 4}}); p.face != "10.e"+p.trouble.id {
		t.Errorf("another start of what keeps crashing looks like %s", p.face)
	}
	see(state.Page{Phase: state.Stopped})
	if got := strings.Join(faces, ""); got != "wewwsseex" {
		t.Errorf("faces %s", got)
	}
}

func TestTheStreamTellsAllAndThenWhatChanges(t *testing.T) {
	t.Parallel()
	l := newLive(t, root, state.Page{Route: "/gone", Phase: state.Serving, ServingBuild: 1})
	srv := serve(t, l)
	resp, err := srv.Client().Get(srv.URL + "/_tqserver/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	next := func() (n changes) {
		for in.Scan() {
			if text, ok := strings.CutPrefix(in.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(text), &n); err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
		t.Fatal("the stream ended")
		return n
	}
	if n := next(); !n.All || len(n.Pages) != 2 || n.Pages[0].Face != "10.s7.0" {
		t.Errorf("first %+v", n)
	}
	styled := root
	styled.AssetChanges, styled.AssetFiles = 1, []string{"pages/index/public/a.css"}
	l.follow(styled)
	if n := next(); n.All || len(n.Pages) != 1 || n.Pages[0].Was != "10.s7.0" || n.Pages[0].Face != "10.s7.1" || !cmp.Equal(n.Pages[0].Styles, []string{"a.css"}) {
		t.Errorf("after a style sheet %+v", n)
	}
	styled.AssetChanges, styled.AssetFiles = 2, []string{"pages/index/public/a.css", "pages/index/x.html"}
	l.follow(styled)
	if n := next(); n.Pages[0].Styles != nil || !cmp.Equal(n.Pages[0].Files, styled.AssetFiles) {
		t.Errorf("after more than a style sheet %+v", n)
	}
	styled.ServingBuild = 8
	l.follow(styled)
	if n := next(); n.Pages[0].Files != nil {
		t.Errorf("after a build %+v", n)
	}
	l.apply(t.Context(), state.Update{Events: []state.Event{{Page: &state.Page{Route: "/gone"}, Removed: true}}})
	if n := next(); len(n.Pages) != 1 || !n.Pages[0].Gone {
		t.Errorf("after a page went %+v", n)
	}
	l.apply(t.Context(), state.Update{Events: []state.Event{{Server: &state.Server{Development: false}}}})
	for in.Scan() {
	}
	if in.Err() != nil {
		t.Errorf("the stream ends with %v", in.Err())
	}
}

func TestTheScriptCanBeKeptForEver(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	newLive(t).ServeHTTP(w, httptest.NewRequest("GET", Reserved+scriptName, nil))
	if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("Content-Type") != "text/javascript; charset=utf-8" || w.Body.String() != script {
		t.Errorf("%d, %v", w.Code, w.Header())
	}
	for path, want := range map[string]int{"live-0.js": 404, "": 404, "open": 405} {
		w := httptest.NewRecorder()
		newLive(t).ServeHTTP(w, httptest.NewRequest("GET", Reserved+path, nil))
		if w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestOnlyWhoSitsHereOpensFilesOfTheProject(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside.go")
	os.WriteFile(outside, nil, 0o600)
	good := `{"file": "pages/a/main.go", "line": 3, "column": 4}`
	for name, c := range map[string]struct {
		change func(*http.Request)
		body   string
		want   int
	}{
		"as it should be": {want: 204},
		"IPv6": {change: func(r *http.Request) {
			r.RemoteAddr, r.Host = "[::1]:1", "[::1]:8080"
			r.Header.Set("Origin", "http://[::1]:8080")
		}, want: 204},
		"from afar":       {change: func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }, want: 403},
		"through a proxy": {change: func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }, want: 403},
		"another origin":  {change: func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, want: 403},
		"another port":    {change: func(r *http.Request) { r.Header.Set("Origin", "http://localhost:3000") }, want: 403},
		"no origin":       {change: func(r *http.Request) { r.Header.Del("Origin") }, want: 403},
		"a rebound name": {change: func(r *http.Request) {
			r.Host = "evil.example:8080"
			r.Header.Set("Origin", "http://evil.example:8080")
		}, want: 403},
		"a name that begins so": {change: func(r *http.Request) {
			r.Host = "localhost.evil.example"
			r.Header.Set("Origin", "http://localhost.evil.example")
		}, want: 403},
		"another site":           {change: func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, want: 403},
		"a simple request":       {change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, want: 415},
		"no request":             {body: "x", want: 400},
		"a negative line":        {body: `{"file": "pages/a/main.go", "line": -3}`, want: 400},
		"a file outside":         {body: `{"file": "` + outside + `"}`, want: 403},
		"a way out":              {body: `{"file": "../../../../../../etc/passwd"}`, want: 403},
		"a link out":             {body: `{"file": "link.go"}`, want: 403},
		"a folder":               {body: `{"file": "pages/a"}`, want: 403},
		"a file that is not":     {body: `{"file": "pages/b/main.go"}`, want: 403},
		"an option for programs": {body: `{"file": "--help"}`, want: 403},
	} {
		l := newLive(t)
		os.MkdirAll(filepath.Join(l.root, "pages/a"), 0o700)
		os.WriteFile(filepath.Join(l.root, "pages/a/main.go"), nil, 0o600)
		os.Symlink(outside, filepath.Join(l.root, "link.go"))
		var opened []any
		l.open = func(file string, line int) error { opened = append(opened, file, line); return nil }
		body := c.body
		if body == "" {
			body = good
		}
		r := httptest.NewRequest("POST", Reserved+"open", strings.NewReader(body))
		r.RemoteAddr, r.Host = "127.0.0.1:4000", "localhost:8080"
		r.Header.Set("Origin", "http://localhost:8080")
		r.Header.Set("Content-Type", "application/json")
		if c.change != nil {
			c.change(r)
		}
		w := httptest.NewRecorder()
		l.ServeHTTP(w, r)
		real, _ := filepath.EvalSymlinks(l.root)
		var want []any
		if c.want == 204 {
			want = []any{filepath.Join(real, "pages/a/main.go"), 3}
		}
		if w.Code != c.want || !cmp.Equal(opened, want) {
			t.Errorf("%s: %d, opened %v; %s", name, w.Code, opened, w.Body)
		}
	}
}

func TestEverythingOnAnErrorPageIsText(t *testing.T) {
	t.Parallel()
	nasty := "<T any> & </script> \"quoted\" 'so' \xff\xfe"
	l := newLive(t)
	os.MkdirAll(filepath.Join(l.root, "pages"), 0o700)
	os.WriteFile(filepath.Join(l.root, "pages/main.go"), []byte("package main\n\n\tvar x = \""+nasty+strings.Repeat("y", 10_000)+"\"\n"), 0o600)
	l.follow(state.Page{Route: "/", Dir: "pages", Phase: state.Failed, Trouble: state.Trouble{Kind: state.TroubleBuild, Text: "the newest build failed"}, Build: state.Build{Number: 4, Problems: []state.Problem{
		{File: "pages/main.go", Line: 3, Column: 2, Message: strings.ToValidUTF8(nasty, "?") + strings.Repeat("z", 100_000)},
		{Message: "no place"},
	}}})
	html, ok := l.Explain(t.Context(), Refused{Route: "/", Status: 503, Form: "text/html", RequestID: "ID"})
	if !ok || strings.Contains(html, "</script>") || strings.Contains(html, "<T any>") || len(html) > 64<<10 {
		t.Errorf("%v, %d bytes: %.3000s", ok, len(html), html)
	}
	for _, want := range []string{"&lt;T any&gt; &amp; &lt;/script&gt;", "/ does not build: 2 errors", "pages/main.go:3:2", "Request ID", `data-tq-line="3"`} {
		if !strings.Contains(html, want) {
			t.Errorf("there is no %s", want)
		}
	}
	text, _ := l.Explain(t.Context(), Refused{Route: "/", Status: 503, Form: "text/plain", RequestID: "ID"})
	if !strings.HasPrefix(text, "503 / does not build: 2 errors\n\npages/main.go:3:2: <T any>") || !strings.Contains(text, "  >    3 |     var x") || !strings.Contains(text, "         |     ^\n") {
		t.Errorf("%.1500s", text)
	}
	var problem struct {
		Status    int
		RequestID string `json:"request_id"`
		Errors    []struct {
			File         string
			Line, Column int
		}
	}
	body, _ := l.Explain(t.Context(), Refused{Route: "/", Status: 503, Form: "application/problem+json", RequestID: "ID"})
	if err := json.Unmarshal([]byte(body), &problem); err != nil || problem.Status != 503 || problem.RequestID != "ID" || len(problem.Errors) != 2 || problem.Errors[0].Line != 3 {
		t.Errorf("%v: %+v", err, problem)
	}
	if _, ok := l.Explain(t.Context(), Refused{Route: "/other", Status: 503, Form: "text/html", RequestID: ""}); ok {
		t.Error("a page that is none is explained")
	}
}

func TestACrashIsToldFromThePageOutwards(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	printed := "before\npanic: outer [recovered]\n\tpanic: inner\n\ngoroutine 7 [running]:\nruntime.gopanic()\n\t/usr/go/src/runtime/panic.go:10 +0x1\n" +
		"shop/lib.Do(...)\n\t" + l.root + "/lib/do.go:5 +0x2\nmain.main()\n\t" + l.root + "/pages/a/main.go:9 +0x3\n\ngoroutine 8 [select]:\nmain.other()\n\t/x.go:1\nexit status 2"
	var lines []state.Line
	for line := range strings.SplitSeq(printed, "\n") {
		lines = append(lines, state.Line{Page: "/a", PID: 9, Text: line})
	}
	l.store().Append([]state.Line{{Page: "/a", PID: 8, Text: "of the one before"}})
	l.store().Append(lines)
	l.follow(state.Page{Route: "/a", Dir: "pages/a", Phase: state.Crashed, Next: time.Now().Add(time.Minute), Trouble: state.Trouble{Kind: state.TroubleCrash, Text: "keeps crashing: exit status 2: panic: outer [recovered] (pages/a/main.go:9)"}, LastExit: state.Exit{PID: 9, Cause: "exit status 2: panic: outer [recovered] (pages/a/main.go:9)"}})
	text, ok := l.Explain(t.Context(), Refused{Route: "/a", Status: 503, Form: "text/plain", RequestID: ""})
	text = regexp.MustCompile(`next start in (60|[1-5]?[0-9]) s`).ReplaceAllString(text, "next start in 60 s")
	want := "503 /a keeps crashing; next start in 60 s\nexit status 2: panic: outer [recovered] (pages/a/main.go:9)\npanic: inner\n\n  pages/a/main.go:9  main.main()\n  lib/do.go:5  shop/lib.Do(...)\n  /usr/go/src/runtime/panic.go:10  runtime.gopanic()\n"
	if !ok || text != want {
		t.Errorf("%s", cmp.Diff(want, text))
	}
	ended, _ := l.page("/a")
	l.store().Publish(state.Event{Page: &ended.Page})
	if text, ok := l.Explain(t.Context(), Refused{Route: "/a", Status: 502, Form: "text/plain", Worker: 9}); !ok || text != strings.Replace(want, "503 /a keeps crashing; next start in 60 s", "502 /a crashed before it responded", 1) {
		t.Errorf("beside another that serves: %s", cmp.Diff(want, text))
	}
	html, _ := l.Explain(t.Context(), Refused{Route: "/a", Status: 503, Form: "text/html", RequestID: ""})
	if strings.Contains(html, "of the one before") || !strings.Contains(html, "goroutine 8") {
		t.Error("the output is not the worker's")
	}
}

func TestTheCauseIsAwaitedOfARequestThatAWorkerDidNotAnswer(t *testing.T) {
	t.Parallel()
	serving := state.Page{Route: "/a", Dir: "pages/a", Phase: state.Serving, ServingBuild: 1, Workers: []state.Worker{{PID: 9}}}
	began := time.Now()
	for name, c := range map[string]struct {
		happens func(*Live)
		want    string
	}{
		"it ended": {func(l *Live) {
			ended := serving
			ended.Phase, ended.ServingBuild, ended.Workers = state.Starting, 0, nil
			ended.LastExit = state.Exit{PID: 9, Cause: "exit status 1: cannot reach the database"}
			l.store().Publish(state.Event{Page: &ended})
		}, "502 /a crashed before it responded\nexit status 1: cannot reach the database\n\n  of the one before\n  GET /a\n"},
		"its handler panicked": {func(l *Live) {
			l.store().Append([]state.Line{
				{Page: "/a", PID: 9, Time: began.Add(1), Text: "2026/11/30 21:14:13 http: panic serving 127.0.0.1:1: no luck"},
				{Page: "/a", PID: 9, Time: began.Add(1), Text: "goroutine 7 [running]:"},
				{Page: "/a", PID: 9, Time: began.Add(1), Text: "main.main()"},
				{Page: "/a", PID: 9, Time: began.Add(1), Text: "\t" + l.root + "/pages/a/main.go:9 +0x3"},
			})
		}, "502 A handler of /a panicked\npanic: no luck\n\n  pages/a/main.go:9  main.main()\n"},
		"neither is known": {func(*Live) {}, ""},
	} {
		l := newLive(t, serving)
		l.store().Publish(state.Event{Page: &serving})
		l.store().Append([]state.Line{{Page: "/a", PID: 9, Time: began.Add(-1), Text: "2026/11/30 21:14:13 http: panic serving 127.0.0.1:1: long ago"}, {Page: "/a", PID: 9, Time: began.Add(1), Text: "GET /a"}})
		said := make(chan string, 1)
		go func() { // ends with the answer
			text, _ := l.Explain(t.Context(), Refused{Route: "/a", Status: 502, Form: "text/plain", Began: began, Worker: 9})
			said <- text
		}()
		c.happens(l)
		want := strings.Replace(c.want, "of the one before", "2026/11/30 21:14:13 http: panic serving 127.0.0.1:1: long ago", 1)
		if got := <-said; got != want {
			t.Errorf("%s: %s", name, cmp.Diff(want, got))
		}
	}
}
