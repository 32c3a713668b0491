package main

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"tqserver/internal/tools/trial"
)

func TestTheP99IsWhatOneInAHundredExceeds(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for n := 200; n > 0; n-- {
		took = append(took, time.Duration(n))
	}
	if got := p99(took); got != 199 {
		t.Errorf("of 1 to 200 it is %d", got)
	}
	if got := p99([]time.Duration{7}); got != 7 {
		t.Errorf("of 7 alone it is %d", got)
	}
	if got := p99(nil); got != 0 {
		t.Errorf("of nothing it is %d", got)
	}
}

func TestFailuresAreCountedByKind(t *testing.T) {
	t.Parallel()
	for want, methods := range map[string][]string{"none": nil, "1 GET": {"GET"}, "2 GET, 1 POST": {"GET", "POST", "GET"}} {
		var failed []*exchange
		for _, m := range methods {
			failed = append(failed, &exchange{method: m})
		}
		if got := kinds(failed); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAPageSaysItsEditInItsLastLine(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]reply{"edit 3 pid 77\n": {3, 77}, "<h1>\nedit 12 pid 1\n\n": {12, 1}} {
		if got, err := (&exchange{body: body}).reply(); got != want || err != nil {
			t.Errorf("%q: got %v, %v", body, got, err)
		}
	}
	for _, body := range []string{"", "edit 3 pid 77\nmore", "pid 77"} {
		if got, err := (&exchange{body: body}).reply(); err == nil {
			t.Errorf("%q is the response of %v", body, got)
		}
	}
}

func TestTheClientTellsWhatBecameOfARequest(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/none":
			panic(http.ErrAbortHandler)
		case "/cut":
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/refused":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/close":
			w.Header().Set("Connection", "close")
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("X-Field"), body)
	}))
	defer server.Close()
	c := &client{address: strings.TrimPrefix(server.URL, "http://"), timeout: time.Minute}
	defer c.close()
	for _, path := range []string{"/", "/close", "/"} {
		if x := c.do("POST", path, "X-Field: y\r\n", "id=1"); x.err != nil || x.body != "POST y id=1" || x.status != 200 || !x.responseBegan {
			t.Errorf("%s: %v, %+v", path, x, *x)
		}
	}
	for path, want := range map[string]struct {
		begun  bool
		status int
	}{"/none": {false, 0}, "/cut": {true, 200}, "/refused": {true, 503}} {
		if x := c.do("GET", path, "", ""); x.err == nil || x.responseBegan != want.begun || x.status != want.status || c.conn != nil {
			t.Errorf("%s: %v, %+v", path, x, *x)
		}
	}
}

// seen returns a load that has ended, on a page that has written down ids.
func seen(t *testing.T, records string) (*scene, *load) {
	s := &scene{ctx: t.Context()}
	p := &sceneProject{Project: &trial.Project{Dir: t.TempDir()}, s: s}
	if err := os.WriteFile(filepath.Join(p.Dir, "records"), []byte(records), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, &load{p: p, route: "/", cancel: func() {}, posted: make(map[string]bool)}
}

func TestALoadFindsWhatWasBroken(t *testing.T) {
	t.Parallel()
	now := time.Now()
	response := func(edit int) *exchange {
		return &exchange{method: "GET", began: now, ended: now, body: fmt.Sprintf("edit %d pid 1", edit)}
	}
	failure := func(method string) *exchange {
		return &exchange{method: method, began: now, ended: now, err: errors.New("no response")}
	}
	for name, c := range map[string]struct {
		records  string
		happened func(l *load)
		broken   []string // how each begins
	}{
		"nothing": {happened: func(l *load) {}, broken: []string{"no request succeeded"}},
		"all is well": {records: "a\nb\n", happened: func(l *load) {
			l.add(response(1), 0)
			l.add(response(2), 1)
			l.add(response(1), 1) // began when edit 1 was the newest
			l.setPosted("a", true)
			l.setPosted("b", false)
			l.setPosted("c", false)
		}},
		"a failure":         {happened: func(l *load) { l.add(response(1), 0); l.add(failure("GET"), 0) }, broken: []string{"failed: GET"}},
		"one that may fail": {happened: func(l *load) { l.add(response(1), 0); l.add(failure("POST"), 0) }},
		"another's":         {happened: func(l *load) { l.add(response(1), 0); l.add(&exchange{method: "GET", body: "hello"}, 0) }, broken: []string{"failed: GET"}},
		"an older build":    {happened: func(l *load) { l.add(response(2), 0); l.add(response(1), 2) }, broken: []string{"an older build responded 1 times, first edit 1 after edit 2"}},
		"a lost record":     {records: "b\n", happened: func(l *load) { l.add(response(1), 0); l.setPosted("a", false); l.setPosted("a", true) }, broken: []string{"of 1 that were posted 1 were lost, 0 came twice"}},
		"one twice":         {records: "a\na\n", happened: func(l *load) { l.add(response(1), 0); l.setPosted("a", false) }, broken: []string{"of 1 that were posted 0 were lost, 1 came twice"}},
		"many failures": {happened: func(l *load) {
			l.add(response(1), 0)
			for range 7 {
				l.add(failure("GET"), 0)
			}
		}, broken: []string{"failed", "failed", "failed", "failed", "failed", "2 more failed"}},
	} {
		s, l := seen(t, c.records)
		c.happened(l)
		l.check(func(x *exchange) bool { return x.method == "POST" })
		ok := len(s.broken) == len(c.broken)
		for i := range min(len(s.broken), len(c.broken)) {
			ok = ok && strings.HasPrefix(s.broken[i], c.broken[i])
		}
		if !ok {
			t.Errorf("%s: got %q, want %q", name, s.broken, c.broken)
		}
	}
}

func TestTimesAreThoseSinceTheLastCall(t *testing.T) {
	t.Parallel()
	_, l := seen(t, "")
	now := time.Now()
	l.add(&exchange{began: now, ended: now.Add(3), body: "edit 1 pid 1"}, 0)
	if diff := cmp.Diff([]time.Duration{3}, l.times()); diff != "" || l.times() != nil {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOnlyAProperCloseIsInOrder(t *testing.T) {
	t.Parallel()
	for _, err := range []error{websocket.CloseError{Code: websocket.StatusGoingAway}, websocket.CloseError{Code: websocket.StatusServiceRestart}, net.ErrClosed, nil} {
		if got := inOrder(err); got != nil {
			t.Errorf("%v is a failure", err)
		}
	}
	for _, err := range []error{websocket.CloseError{Code: websocket.StatusInternalError}, io.EOF, context.Canceled} {
		if inOrder(err) != err {
			t.Errorf("%v is in order", err)
		}
	}
}

func TestPagesOfEveryModeAreGo(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", "exit"} {
		text := pageText(7, mode)
		if _, err := parser.ParseFile(token.NewFileSet(), "main.go", text, parser.AllErrors); err != nil {
			t.Errorf("mode %q: %v", mode, err)
		}
		if !strings.Contains(text, "7") {
			t.Errorf("mode %q does not say its edit", mode)
		}
	}
}

func TestOnlyRequestsAroundAFaultMayFail(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(method string, began, ended time.Duration, responseBegan bool) *exchange {
		return &exchange{method: method, began: now.Add(began), ended: now.Add(ended), responseBegan: responseBegan}
	}
	r := &randomFaults{}
	r.allow(now, false)
	for name, c := range map[string]struct {
		x    *exchange
		want bool
	}{
		"a post meanwhile":      {at("POST", -time.Minute, time.Minute, false), true},
		"a get meanwhile":       {at("GET", 0, time.Second, false), false},
		"a get that was cut":    {at("GET", 0, time.Second, true), true},
		"a post that had ended": {at("POST", -time.Minute, -time.Second, false), false},
		"a later post":          {at("POST", time.Hour, 2*time.Hour, false), false},
	} {
		if got := r.mayFail(c.x); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	r.allow(now, true)
	if !r.mayFail(at("GET", 0, time.Second, false)) {
		t.Error("a get may not fail when the server is killed")
	}
}
