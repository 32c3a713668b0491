package sinks

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/state"
)

func TestAnEventIsALineThatPeopleCanRead(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 678_000_000, time.Local)
	for want, e := range map[string]state.Event{
		"15:04:05.678 /api         swapped  build=3  took=212ms\n": {
			Time: at, Message: "swapped",
			Attrs: []state.Attr{state.String("page", "/api"), state.Int("build", 3), state.Duration("took", 212_345*time.Microsecond)},
		},
		"15:04:05.678 tqserver     WARN watching\n": {Time: at, Level: state.LevelWarn, Message: "watching"},
		"15:04:05.678 /            ERROR build failed  build=2\n    a.go:1:2: undefined: x\n    a.go:3:4: undefined: y\n": {
			Time: at, Level: state.LevelError, Message: "build failed",
			Attrs: []state.Attr{state.String("page", "/"), state.Int("build", 2), state.String("err", "a.go:1:2: undefined: x\na.go:3:4: undefined: y")},
		},
		"": {Time: at},
	} {
		var got strings.Builder
		writeEvent(&got, e)
		if diff := cmp.Diff(want, got.String()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDurationsHaveThreeDigits(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"7µs": 6_559, "999µs": 999 * time.Microsecond, "1.23ms": 1_234_567, "212ms": 212_345 * time.Microsecond, "1.5s": 1_499_999_999, "29m10s": 29*time.Minute + 10*time.Second,
	} {
		if got := short(d); got != want {
			t.Errorf("%v becomes %q, not %q", d, got, want)
		}
	}
}

func TestALineThatHasNotEndedIsAPlainLineToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := state.NewStore(state.Server{})
		ctx, cancel := context.WithCancel(t.Context())
		var out strings.Builder
		done := make(chan struct{})
		go func() { // ends with ctx
			Console(ctx, store, &out)
			close(done)
		}()
		for _, l := range []state.Line{
			{Text: "connecting ... ", Partial: true}, {Text: "connecting ... "}, {Text: "connecting ... "},
			{Text: "progress 20%", Partial: true}, {Text: "progress 40%", Partial: true}, {Text: "progress 100%"},
		} {
			l.Page, l.PID = "/", 1
			store.Append([]state.Line{l})
			synctest.Wait()
		}
		cancel()
		<-done
		got := regexp.MustCompile(`(?m)^.* \| `).ReplaceAllString(out.String(), "")
		if want := "connecting ... \nconnecting ... \nprogress 20%\nprogress 40%\nprogress 100%\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}
