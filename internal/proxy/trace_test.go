package proxy

import (
	"bufio"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tqserver/internal/policy"
)

const (
	traceID   = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID    = "00f067aa0ba902b7"
	parent    = "00-" + traceID + "-" + spanID + "-01"
	zeroTrace = "00000000000000000000000000000000"
	zeroSpan  = "0000000000000000"
)

var traceparentForm = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-0([01])$`)

// The cases are those of the standard's own test suite, and some more.
func TestATraceGoesOnIfItsParentIsValid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		sent []string
		want string // the flag, or "" for a new trace
	}{
		{[]string{parent}, "1"},
		{[]string{"00-" + traceID + "-" + spanID + "-00"}, "0"},
		{[]string{"00-" + traceID + "-" + spanID + "-ff"}, "1"},
		{[]string{"00-" + traceID + "-" + spanID + "-02"}, "0"},
		{[]string{"00-" + traceID + "-" + spanID + "-0b"}, "1"},
		// versions to come
		{[]string{"01-" + traceID + "-" + spanID + "-01"}, "1"},
		{[]string{"cc-" + traceID + "-" + spanID + "-00"}, "0"},
		{[]string{"cc-" + traceID + "-" + spanID + "-01-what-the-future-will-be-like"}, "1"},
		{[]string{"cc-" + traceID + "-" + spanID + "-01-"}, "1"},
		{[]string{"cc-" + traceID + "-" + spanID + "-01.what-the-future-will-not-be-like"}, ""},
		{[]string{"cc-" + traceID + "-" + spanID + "-1"}, ""},
		// not a parent
		{nil, ""},
		{[]string{""}, ""},
		{[]string{parent, parent}, ""},
		{[]string{parent, ""}, ""},
		{[]string{parent + "," + parent}, ""},
		{[]string{parent + "-what-the-future-will-be-like"}, ""},
		{[]string{parent + "0"}, ""},
		{[]string{parent[:54]}, ""},
		{[]string{"ff" + parent[2:]}, ""},
		{[]string{"FF" + parent[2:]}, ""},
		{[]string{".0" + parent[2:]}, ""},
		{[]string{"0" + parent[2:] + "1"}, ""},
		{[]string{"000" + parent[2:]}, ""},
		{[]string{"00-" + zeroTrace + "-" + spanID + "-01"}, ""},
		{[]string{"00-" + traceID + "-" + zeroSpan + "-01"}, ""},
		{[]string{"00-" + strings.ToUpper(traceID) + "-" + spanID + "-01"}, ""},
		{[]string{"00-" + traceID + "-" + strings.ToUpper(spanID) + "-01"}, ""},
		{[]string{"00-" + traceID + "-" + spanID + "-0A"}, ""},
		{[]string{"00-." + traceID[1:] + "-" + spanID + "-01"}, ""},
		{[]string{"00-" + traceID + "-." + spanID[1:] + "-01"}, ""},
		{[]string{"00-" + traceID + "-" + spanID + "-.0"}, ""},
		{[]string{"00-" + traceID + "_" + spanID + "-01"}, ""},
		{[]string{"00-" + traceID[1:] + "-" + spanID + "0-01"}, ""},
		{[]string{strings.ReplaceAll(parent, "-", " ")}, ""},
	} {
		got, state := continueTrace(tt.sent, []string{"a=1"})
		m := traceparentForm.FindStringSubmatch(got)
		if m == nil || m[1] == zeroTrace || m[2] == zeroSpan || m[2] == spanID {
			t.Errorf("%q goes on as %q", tt.sent, got)
			continue
		}
		goesOn := tt.want != ""
		if goesOn != (m[1] == traceID) || goesOn != (state == "a=1") || m[3] != orElse(tt.want, "0") {
			t.Errorf("%q goes on as %q with state %q", tt.sent, got, state)
		}
	}
}

func TestATracestateIsPassedOnOrDroppedWhole(t *testing.T) {
	t.Parallel()
	members := func(n int) string { return strings.Join(slices.Repeat([]string{"a=1"}, n), ",") }
	long := strings.Repeat("a", 256)
	for _, tt := range []struct {
		sent []string
		want string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"", " ,"}, ""},
		{[]string{"foo=1"}, "foo=1"},
		{[]string{"foo=1,bar=2"}, "foo=1,bar=2"},
		{[]string{"foo=1 \t , \t bar=2, "}, "foo=1 \t , \t bar=2, "},
		{[]string{"foo=1", "bar=2,rojo=1", "congo=2"}, "foo=1,bar=2,rojo=1,congo=2"},
		{[]string{"foo=1", "", "bar=2"}, "foo=1,,bar=2"},
		{[]string{"foo=1,foo=2"}, "foo=1,foo=2"}, // may be kept
		{[]string{"0_-*/@a=!\"#$%&'()*+-./:;<>?[]^ ~"}, "0_-*/@a=!\"#$%&'()*+-./:;<>?[]^ ~"},
		{[]string{"fw529a3039@dt=FfffFP", "1a@b=1"}, "fw529a3039@dt=FfffFP,1a@b=1"},
		{[]string{long + "=" + long}, long + "=" + long},
		{[]string{members(32)}, members(32)},
		{[]string{members(31), "b=1"}, members(31) + ",b=1"},
		{[]string{members(33)}, ""},
		{[]string{members(32), "b=1"}, ""},
		{[]string{long + "a=1"}, ""},
		{[]string{"a=" + long + "1"}, ""},
		{[]string{"foo"}, ""}, {[]string{"foo="}, ""}, {[]string{"=1"}, ""}, {[]string{"foo=1=2"}, ""},
		{[]string{"foo =1"}, ""}, {[]string{"Foo=1"}, ""}, {[]string{"foo.bar=1"}, ""}, {[]string{"*foo=1"}, ""}, {[]string{"foö=1"}, ""},
		{[]string{"foo=ö"}, ""}, {[]string{"foo=a\tb"}, ""}, {[]string{"foo=1;bar=2"}, ""}, {[]string{"foo=1,bar"}, ""},
	} {
		if got := parseTracestate(tt.sent); got != tt.want {
			t.Errorf("%.80q is passed on as %.80q, want %.80q", tt.sent, got, tt.want)
		}
	}
}

func FuzzTrace(f *testing.F) {
	f.Add(parent, "foo=1", "bar=2")
	f.Add("cc"+parent[2:]+"-x", "", ",")
	f.Add("", "a", "b=")
	f.Fuzz(func(t *testing.T, sent, first, second string) {
		got, state := continueTrace([]string{sent}, []string{first, second})
		m := traceparentForm.FindStringSubmatch(got)
		if m == nil || m[1] == zeroTrace || m[2] == zeroSpan {
			t.Fatalf("%q goes on as %q", sent, got)
		}
		if state != "" && state != first+","+second || len(strings.Split(state, ",")) > maxStates {
			t.Errorf("%q and %q are passed on as %q", first, second, state)
		}
		if again, _, ok := parseTraceparent([]string{got}); !ok || again != m[1] {
			t.Errorf("%q is not read as what it is", got)
		}
		if strings.Contains(sent, m[1]) != (state != "" || sentIsValid(sent)) {
			t.Errorf("%q goes on as %q with state %q", sent, got, state)
		}
	})
}

// sentIsValid is another reading of section 3.2.
func sentIsValid(sent string) bool {
	m := regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-(?s:.*))?$`).FindStringSubmatch(sent)
	return m != nil && m[1] != "ff" && m[2] != zeroTrace && m[3] != zeroSpan && (m[1] != "00" || m[4] == "")
}

func TestTheNamesOfARequestReachWorkerAndClient(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	heads := make(chan string, 1)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		var head strings.Builder
		r.Header.Write(&head)
		heads <- head.String()
		h := w.Header()
		h.Set("X-Request-Id", "the worker's own")
		h.Add("X-Request-Id", "and another")
		h.Set("Traceparent", parent)
		h.Set("Connection", "Traceparent, X-Request-Id")
		w.WriteHeader(http.StatusNoContent)
	}))
	for _, nominated := range []string{"", "Connection: X-Request-ID, traceparent, tracestate\r\n"} {
		resp, _ := exchangeRaw(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nx-request-id: mine\r\nTraceParent: "+parent+"\r\ntracestate: a=1\r\nTRACESTATE: b=2\r\n"+nominated+"\r\n")
		head := <-heads
		ids, parents := resp.Header.Values("X-Request-Id"), resp.Header.Values("Traceparent")
		if !slices.Equal(ids, []string{"mine"}) || len(parents) != 1 || !strings.HasPrefix(parents[0], "00-"+traceID+"-") || strings.Contains(parents[0], spanID) || !strings.HasSuffix(parents[0], "-01") {
			t.Errorf("the client sees %q and %q", ids, parents)
			continue
		}
		for _, line := range []string{"X-Request-Id: mine\r\n", "Traceparent: " + parents[0] + "\r\n", "Tracestate: a=1,b=2\r\n"} {
			if strings.Count(head, line) != 1 {
				t.Errorf("no %q at the worker: %q", line, head)
			}
		}
	}
	for _, sent := range []string{"", "X-Request-ID: a\r\nX-Request-ID: a\r\n", "X-Request-ID: a\r\nx-request-id: b\r\n"} {
		resp, _ := exchangeRaw(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nTraceparent: "+parent+"x\r\nTracestate: a=1\r\n"+sent+"\r\n")
		head := <-heads
		id, trace := resp.Header.Get("X-Request-Id"), resp.Header.Get("Traceparent")
		if len(id) < 26 || !strings.Contains(head, "X-Request-Id: "+id+"\r\n") || strings.Contains(trace, traceID) || !strings.Contains(head, "Traceparent: "+trace+"\r\n") || strings.Contains(head, "Tracestate") {
			t.Errorf("%q: the client sees %q and %q, the worker %q", sent, id, trace, head)
		}
	}
}

func TestEveryResponseOfTheServerHasATrace(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Refuse(policy.Refusal{Status: 503, Title: "No"})
	for _, path := range []string{"/nobody", "/refused"} {
		for _, sent := range []string{"", "Traceparent: " + parent + "\r\n"} {
			resp, _ := exchangeRaw(t, f.addr(), "GET "+path+" HTTP/1.1\r\nHost: x\r\n"+sent+"\r\n")
			got := resp.Header.Values("Traceparent")
			if len(got) != 1 || !traceparentForm.MatchString(got[0]) || (sent != "") != strings.Contains(got[0], traceID) {
				t.Errorf("%s, sent %q: Traceparent %q", path, sent, got)
			}
		}
	}
}

func TestAnUpgradeIsNamedAndAnInterimResponseIsTheWorkers(t *testing.T) {
	t.Parallel()
	f := newFront(t, generous)
	f.route.Serve(newWorker(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		clear(w.Header())
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.Header().Set("Traceparent", parent)
		w.WriteHeader(http.StatusSwitchingProtocols)
	}))
	_, r := dial(t, f.addr(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 103 ") || strings.Contains(head, "X-Request-Id") || strings.Contains(head, "Traceparent") {
		t.Errorf("first %q", head)
	}
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 101 ") || strings.Count(head, "X-Request-Id: ") != 1 || strings.Count(head, "Traceparent: ") != 1 || strings.Contains(head, traceID) {
		t.Errorf("then %q", head)
	}
}

func TestNoTwoRequestsHaveTheSameName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	const n = 10000
	for range n {
		trace, _ := continueTrace(nil, nil)
		m := traceparentForm.FindStringSubmatch(trace)
		maps.Insert(seen, maps.All(map[string]bool{requestID(nil): true, m[1]: true, m[2]: true}))
	}
	if len(seen) != 3*n {
		t.Errorf("of %d names %d are different", 3*n, len(seen))
	}
}

func BenchmarkNamesMade(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		requestID(nil)
		continueTrace(nil, nil)
	}
}

func BenchmarkNamesKept(b *testing.B) {
	b.ReportAllocs()
	ids, parents, states := []string{"01JD7Z3K9M"}, []string{parent}, []string{"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}
	for b.Loop() {
		requestID(ids)
		continueTrace(parents, states)
	}
}

func BenchmarkIdentity(b *testing.B) {
	b.ReportAllocs()
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	text := "GET / HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\nUser-Agent: x\r\nCookie: a=b\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		b.Fatal(err)
	}
	r.RemoteAddr = "127.0.0.1:1234"
	for b.Loop() {
		who, _ := identify(r, trusted)
		who.appendFields(r, nil)
	}
}
