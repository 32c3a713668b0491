package accesslog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tqserver/internal/logfile"
	"tqserver/internal/state"
)

// runningLog is a log under Run, with its lines and warnings.
type runningLog struct {
	*Log
	mu    sync.Mutex // guards the fields below
	lines []state.Line
	lost  []uint64
	end   func()
}

func startLog(t *testing.T, inUse ...Settings) *runningLog {
	t.Helper()
	r := new(runningLog)
	r.Log = New(Options{
		Show: func(batch []state.Line) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lines = append(r.lines, batch...)
		},
		Warn: func(lost uint64, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lost = append(r.lost, lost)
		},
	})
	r.Configure(inUse)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { r.Run(ctx); close(ended) }() // ends with ctx
	r.end = func() { cancel(); <-ended }
	t.Cleanup(r.end)
	return r
}

// record records requests with settings.
func (r *runningLog) record(s Settings, requests ...Record) {
	for _, request := range requests {
		request.Settings = &s
		r.Record(request)
	}
}

func content(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhatWasRecordedIsWrittenBeforeTheEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "logs", "access.log")
	s := Settings{logfile.Template{Name: file}, "combined"}
	l := startLog(t, s)
	for range 1000 {
		l.record(s, sample())
	}
	l.end()
	if n := strings.Count(content(t, file), "\n"); n != 1000 {
		t.Errorf("%d lines", n)
	}
}

func TestEveryPathHasItsOwnSettings(t *testing.T) {
	dir := t.TempDir()
	rest := Settings{logfile.Template{Name: filepath.Join(dir, "rest")}, "common"}
	all := []Settings{
		rest, {logfile.Template{Name: filepath.Join(dir, "off")}, "off"}, {logfile.Template{Name: filepath.Join(dir, "json")}, "json"},
		{logfile.Template{Name: ""}, "json"}, rest,
	}
	l := startLog(t, all...)
	for _, s := range all {
		r := sample()
		r.Status = 0
		l.record(s, r)
	}
	l.end()
	if got := content(t, filepath.Join(dir, "json")); !strings.HasPrefix(got, "{") || !strings.Contains(got, `"status":499`) {
		t.Errorf("json: %s", got)
	}
	if got := content(t, filepath.Join(dir, "rest")); strings.Count(got, " 499 3400\n") != 2 {
		t.Errorf("rest: %s", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "off")); err == nil {
		t.Error("what is off is written")
	}
	if len(l.lines) != 4 {
		t.Errorf("the screen has %d lines", len(l.lines))
	}
}

func TestARequestIsWrittenToTheFileOfTheDayOnWhichItCame(t *testing.T) {
	dir := t.TempDir()
	s := Settings{logfile.Template{Root: dir, Name: "{date}.log"}, "common"}
	l := startLog(t, s)
	midnight := time.Date(2026, 1, 1, 0, 0, 0, 0, time.Local) // the last request of a year ends after it
	for _, at := range []time.Duration{-time.Hour, -time.Second, 0, -time.Millisecond, time.Hour} {
		r := sample()
		r.Time = midnight.Add(at)
		l.record(s, r)
	}
	l.end()
	old, young := content(t, filepath.Join(dir, "2025-12-31.log")), content(t, filepath.Join(dir, "2026-01-01.log"))
	if strings.Count(old, "[31/Dec/2025:23:") != 3 || strings.Count(old, "\n") != 3 || strings.Count(young, "[01/Jan/2026:0") != 2 || strings.Count(young, "\n") != 2 {
		t.Errorf("the old year has\n%sthe new one\n%s", old, young)
	}
}

func TestAFileThatNoSettingsNameIsClosed(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	synctest.Test(t, func(t *testing.T) {
		old, now := Settings{logfile.Template{Name: first}, "common"}, Settings{logfile.Template{Name: second}, "json"}
		l := startLog(t, old)
		l.record(old, sample())
		synctest.Wait()
		if l.out.files[old.File] == nil {
			t.Error("it is closed while settings name it")
		}
		l.Configure([]Settings{now})
		for range 2 { // the second time for a request that started before
			time.Sleep(time.Second)
			synctest.Wait()
			if open := l.out.files[old.File]; open != nil {
				t.Error("it is open")
			}
			l.record(old, sample())
		}
		l.record(now, sample())
		l.end()
	})
	if a, b := content(t, first), content(t, second); strings.Count(a, "\n") != 3 || !strings.HasPrefix(b, "{") {
		t.Errorf("first %q, second %q", a, b)
	}
}

func TestLostRecordsAreReportedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLog(t)
		flood := func() {
			l.Record(sample())
			synctest.Wait()
			for range queueLen + 500 { // between two batches
				l.Record(sample())
			}
		}
		for range 3 {
			flood()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		l.mu.Lock()
		if len(l.lost) > 1 {
			t.Errorf("told %d times within seconds", len(l.lost))
		}
		l.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		l.end()
		var lost uint64
		for _, n := range l.lost {
			lost += n
		}
		if lost != 1500 || len(l.lost) != 2 {
			t.Errorf("told of %v", l.lost)
		}
	})
}

// Whatever part of a record a client makes long, the log keeps a bounded number of
// bytes.
func TestWhatIsKeptIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	const long = 60 << 10
	kinds := reflect.TypeFor[Record]()
	for i := range kinds.NumField() {
		if kinds.Field(i).Type.Kind() != reflect.String {
			continue
		}
		l := New(Options{})
		r := sample()
		reflect.ValueOf(&r).Elem().Field(i).SetString(strings.Repeat("x", long))
		for range queueBytes/long + 10 {
			l.Record(r)
		}
		if kept := len(l.queue) * long; kept > queueBytes || l.lost == 0 {
			t.Errorf("with a long %s %d bytes are kept, %d records lost", kinds.Field(i).Name, kept, l.lost)
		}
	}
}

// What is being written counts too.
func TestABatchCountsUntilItIsWritten(t *testing.T) {
	t.Parallel()
	l := New(Options{})
	r := sample()
	r.UserAgent = strings.Repeat("x", 60<<10)
	fill := func() (n int) {
		for before := l.lost; l.lost == before; n++ {
			l.Record(r)
		}
		return n - 1
	}
	first := fill()
	batch, bytes, _ := l.take(nil)
	if len(batch) != first || fill() != 0 {
		t.Errorf("a batch of %d and %d more are kept", first, len(l.queue))
	}
	l.releaseBytes(bytes)
	if again := fill(); again != first {
		t.Errorf("%d fit after %d were written", again, first)
	}
}

func TestTheScreenGetsASampleOfABusyPageAndAllOfAQuietOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLog(t)
		for range 100 {
			for range 400 {
				l.Record(sample())
			}
			quiet := sample()
			quiet.Route = "/quiet"
			l.Record(quiet)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(l.out.budgets) > 0 {
			t.Error("pages that have nothing to do are not forgotten")
		}
		l.end()
		shown := make(map[string]int)
		for _, line := range l.lines {
			shown[line.Page]++
			if !line.Access {
				t.Fatalf("%+v", line)
			}
		}
		if most := budgetBurst + 11*budgetRate; shown["/api"] > most || shown["/api"] < budgetBurst || shown["/quiet"] != 100 {
			t.Errorf("shown: %v", shown)
		}
		if last := l.lines[len(l.lines)-1].Text; !strings.HasPrefix(last, "… ") || !strings.HasSuffix(last, " requests not shown") {
			t.Errorf("the last line is %q", last)
		}
	})
}

func TestARequestThatCannotBeWrittenDownIsCounted(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access.log")
	s := Settings{File: logfile.Template{Name: file}, Format: "json"}
	l := startLog(t, s)
	l.record(s, sample())
	l.Record(Record{}) // a record without settings makes the writer panic
	l.record(s, sample())
	l.end()
	if n := strings.Count(content(t, file), "\n"); n != 2 || len(l.lost) != 1 || l.lost[0] != 1 {
		t.Errorf("%d lines are written, and told of %v", n, l.lost)
	}
}

func TestTheShortFormIsShort(t *testing.T) {
	t.Parallel()
	long := Record{Method: strings.Repeat("M", 60<<10), Target: strings.Repeat("/t", 30<<10), Status: 200}
	want := strings.Repeat("M", maxMethod) + "… " + strings.Repeat("/t", maxTarget/2) + "… 200 0.0 ms 0 B"
	if got := summary(&long); got != want {
		t.Errorf("%d bytes are shown", len(got))
	}
}

func TestTheShortForm(t *testing.T) {
	r := sample()
	for _, tt := range []struct {
		took  time.Duration
		bytes int64
		want  string
	}{
		{1234 * time.Microsecond, 3400, "1.2 ms 3.4 kB"}, {0, 0, "0.0 ms 0 B"}, {9949 * time.Microsecond, 999, "9.9 ms 999 B"}, {9950 * time.Microsecond, 9950, "9 ms 10 kB"},
		{2 * time.Second, 999_600, "2.0 s 1.0 MB"}, {time.Hour, 5e12, "3600 s 5 TB"},
	} {
		r.Took, r.Bytes = tt.took, tt.bytes
		if got := summary(&r); got != "GET /api/users?q=a%20b&token=*** 200 "+tt.want {
			t.Errorf("got %q, want …%q", got, tt.want)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	r := sample()
	for _, senders := range []int{1, 2} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			b.ReportAllocs()
			l := New(Options{})
			var mu sync.Mutex
			var spare []Record
			send := func(n int) {
				l.Record(r)
				if n%1000 == 0 { // a lost record would cost nothing
					mu.Lock()
					batch, bytes, _ := l.take(spare)
					l.releaseBytes(bytes)
					clear(batch)
					spare = batch[:0]
					mu.Unlock()
				}
			}
			if senders == 1 {
				for n := 0; b.Loop(); n++ {
					send(n)
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for n := 0; pb.Next(); n++ {
						send(n)
					}
				})
			}
			if l.lost > 0 {
				b.Errorf("%d are lost", l.lost)
			}
		})
	}
}

func BenchmarkLine(b *testing.B) {
	r := sample()
	for _, format := range []string{"combined", "json"} {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			var buffer []byte
			for b.Loop() {
				buffer = appendLine(buffer[:0], &r, format)
			}
		})
	}
}
