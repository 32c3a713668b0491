package main

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantilesAreValuesOfTheSample(t *testing.T) {
	t.Parallel()
	sample := []float64{9, 1, 8, 2, 7, 3, 6, 4, 5, 10}
	before := append([]float64(nil), sample...)
	for q, want := range map[float64]float64{0: 1, 0.1: 2, 0.25: 3, 0.5: 6, 0.95: 10, 0.99: 10, 1: 10} {
		if got := quantile(sample, q); got != want {
			t.Errorf("quantile(%v) = %v, want %v", q, got, want)
		}
	}
	if diff := cmp.Diff(before, sample); diff != "" {
		t.Errorf("the sample has changed:\n%s", diff)
	}
	if got := median([]time.Duration{3, 1, 2}); got != 2 {
		t.Errorf("the median of 1, 2 and 3 is %d", got)
	}
	if got := median([]time.Duration{5}); got != 5 {
		t.Errorf("the median of 5 is %d", got)
	}
}

func TestFiguresHaveAsManyDigitsAsTheyTell(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"1.15×": withUnit(1.149, "×"), "2.00×": withUnit(2, "×"), "25×": withUnit(25.4, "×"),
		"0": withUnit(0, ""), "3 MiB": withUnit(3, "MiB"), "3.14 MiB": withUnit(3.14159, "MiB"), "12346 /s": withUnit(12345.6, "/s"),
		"12.3s": rounded(12_345 * time.Millisecond), "1.235s": rounded(1_234_567 * time.Microsecond),
		"123ms": rounded(123_456 * time.Microsecond), "12.35ms": rounded(12_345 * time.Microsecond), "40µs": rounded(42 * time.Microsecond),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestABarIsReachedUpToItsBound(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	for _, c := range []struct {
		got  result
		want result
	}{
		{atMost(10, "memory", 25, "MiB", 25), result{10, "memory", "", "25 MiB", "≤ 25 MiB", true}},
		{atMost(10, "memory", 25.01, "MiB", 25), result{10, "memory", "", "25 MiB", "≤ 25 MiB", false}},
		{noSlower(1, "a save", "go build", 115*ms, 100*ms, 1.15), result{1, "a save", "115ms, go build 100ms", "1.15×", "≤ 1.15×", true}},
		{noSlower(1, "a save", "go build", 116*ms, 100*ms, 1.15), result{1, "a save", "116ms, go build 100ms", "1.16×", "≤ 1.15×", false}},
		{noLess(6, "small", "nginx", 800, 1000, 0.8, 0.8, "/s"), result{6, "small", "800 /s, nginx 1000 /s", "0.80×", "≥ 0.80×", true}},
		{noLess(6, "small", "nginx", 900, 1000, 0.79, 0.8, "/s"), result{6, "small", "900 /s, nginx 1000 /s", "0.79×", "≥ 0.80×", false}},
		{within(4, "start", 600*ms, 600*ms), result{4, "start", "", "600ms", "≤ 600ms", true}},
		{within(4, "start", 601*ms, 600*ms), result{4, "start", "", "601ms", "≤ 600ms", false}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// Machines change their speed from minute to minute: rounds are compared, not
// the medians of all.
func TestSidesAreComparedRoundByRound(t *testing.T) {
	t.Parallel()
	ours := &side{name: "tqserver", rates: []float64{100, 200, 900}}
	other := &side{name: "ReverseProxy", rates: []float64{100, 100, 300}}
	want := result{6, "small", "200 /s, `httputil.ReverseProxy` 100 /s", "2.00×", "≥ 2.00×", true}
	if diff := cmp.Diff(want, against(6, "small", ours, other, 2)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheTableIsInTheOrderOfTheBars(t *testing.T) {
	t.Parallel()
	b := &bench{results: []result{
		{Bar: 2, Work: "b", Measured: "x, y", Value: "2.00×", Bound: "≤ 1.00×"},
		{Bar: 1, Work: "a", Value: "1 ms", Bound: "≤ 2 ms", Reached: true},
		{Bar: 2, Work: "c", Value: "0", Bound: "≤ 0", Reached: true},
	}}
	const want = "| | Work | Measured | Result | Bar | |\n" +
		"| --- | --- | --- | --- | --- | --- |\n" +
		"| 1 | a |  | 1 ms | ≤ 2 ms | reached |\n" +
		"| 2 | b | x, y | 2.00× | ≤ 1.00× | **missed** |\n" +
		"| 2 | c |  | 0 | ≤ 0 | reached |\n"
	if diff := cmp.Diff(want, b.table()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := b.results[1].String(); got != "2  b: 2.00×, bar ≤ 1.00×: missed (x, y)" {
		t.Errorf("a line is %q", got)
	}
}

const wrkOutput = `Running 3s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.19ms    1.02ms  20.11ms   84.46%
    Req/Sec    20.24k     1.55k   23.42k    76.67%
  60418 requests in 3.01s, 7.43MB read
Requests/sec:  20087.55
Transfer/sec:      2.47MB
`

func TestTheRateOfWrkIsParsed(t *testing.T) {
	t.Parallel()
	if rate, err := parseWrk(wrkOutput); rate != 20087.55 || err != nil {
		t.Errorf("got %v, %v", rate, err)
	}
	for out, want := range map[string]string{
		strings.Replace(wrkOutput, "Requests/sec", "  Non-2xx or 3xx responses: 12\nRequests/sec", 1):                         "Non-2xx or 3xx responses: 12",
		strings.Replace(wrkOutput, "Requests/sec", "  Socket errors: connect 0, read 3, write 0, timeout 0\nRequests/sec", 1): "Socket errors: connect 0, read 3, write 0, timeout 0",
		"unable to connect": "no rate in:\nunable to connect",
	} {
		if _, err := parseWrk(out); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestTheBenchmarkOfMatchesIsParsed(t *testing.T) {
	t.Parallel()
	c, slowest, allocations, err := parseMatch(`goos: linux
BenchmarkMatchAndClaim/routes=1/depth=1-2         	 100	        21.5 ns/op	       0 B/op	       0 allocs/op
BenchmarkMatchAndClaim/routes=1/depth=2-2         	 100	        51.5 ns/op	       0 B/op	       0 allocs/op
BenchmarkMatchAndClaim/routes=100/depth=2-2       	 100	        71 ns/op	       8 B/op	       1 allocs/op
BenchmarkMatchAndClaim/routes=100/depth=4-2       	 100	       171 ns/op	      16 B/op	       2 allocs/op
BenchmarkMatchAndClaim/routes=10000/depth=2-2     	 100	        60 ns/op	       0 B/op	       0 allocs/op
PASS
`)
	if slowest != 71 || allocations != 3 || err != nil {
		t.Errorf("the slowest is %v, with %d allocations; %v", slowest, allocations, err)
	}
	want := []curve{{"2 segments", [][2]float64{{1, 51.5}, {100, 71}, {10000, 60}}}, {"1 segment", [][2]float64{{1, 21.5}}}}
	if diff := cmp.Diff(want, c.curves, cmp.AllowUnexported(curve{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, _, _, err := parseMatch("FAIL"); err == nil {
		t.Error("there are figures of a benchmark that failed")
	}
}

func TestPagesAreGo(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"forwarded": forwardPage, "recorder": recorder, "page": pageText("7"), "import": pageText("7", "trial/shared")} {
		if _, err := parser.ParseFile(token.NewFileSet(), name, text, parser.AllErrors); err != nil {
			t.Error(err)
		}
	}
	if text := pageText("7", "trial/shared"); !strings.Contains(text, `const edit = "7"`) || !strings.Contains(text, "\t\"trial/shared\"\n") {
		t.Errorf("the page has another edit or imports:\n%s", text)
	}
}
