package proxy

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestEjection follows workers through their ends: each step is what happens, after how
// many seconds, and until when the worker is out then.
func TestEjection(t *testing.T) {
	t.Parallel()
	type step struct {
		what  string // ends: good, bad, unknown; with "try " before it, of the request that tries
		after int    // seconds since the step before
		out   int    // seconds from now until it may be tried; -1 if it is not out
	}
	bad := func(n int) (steps []step) {
		for range n {
			steps = append(steps, step{"bad", 0, -1})
		}
		return steps
	}
	// eject ejects a worker with some pause, after some time.
	eject := func(after, pause int) []step { return append(bad(2), step{"bad", after, pause}) }
	for name, steps := range map[string][][]step{
		"good ends keep it":                   {bad(2), {{"good", 0, -1}}, bad(2), {{"good", 0, -1}}, bad(2)},
		"ends by others do not matter":        {bad(2), {{"unknown", 0, -1}, {"bad", 0, 10}}},
		"it comes back":                       {eject(0, 10), {{"try good", 10, -1}}, bad(2), {{"good", 0, -1}}},
		"old exchanges do not matter":         {eject(0, 10), {{"good", 1, 9}, {"bad", 1, 8}, {"unknown", 1, 7}}},
		"the pause doubles":                   {eject(0, 10), {{"try bad", 10, 20}, {"try bad", 20, 40}, {"try bad", 40, 80}, {"try bad", 80, 160}, {"try bad", 160, 300}, {"try bad", 300, 300}}},
		"a try without a result is repeated":  {eject(0, 10), {{"try unknown", 10, 0}, {"try good", 5, -1}}},
		"it doubles after a short return":     {eject(0, 10), {{"try good", 10, -1}}, eject(50, 20), {{"try good", 20, -1}}, eject(0, 40)},
		"after a minute it begins anew":       {eject(0, 10), {{"try good", 10, -1}, {"good", 59, -1}, {"bad", 1, -1}, {"bad", 0, -1}, {"bad", 0, 10}}},
		"a bad end within that minute counts": {eject(0, 10), {{"try good", 10, -1}, {"bad", 30, -1}, {"good", 0, -1}, {"bad", 59, -1}, {"bad", 0, -1}, {"bad", 0, 20}}},
	} {
		now := time.Unix(1000, 0)
		limits := &Balance{EjectFailures: 3, EjectTime: 10 * time.Second}
		var e ejection
		var all []step
		for _, part := range steps {
			all = append(all, part...)
		}
		for i, s := range all {
			now = now.Add(time.Duration(s.after) * time.Second)
			how, tried := s.what, false
			if _, err := fmt.Sscanf(s.what, "try %s", &how); err == nil {
				tried = true
				if !e.canTry(now) {
					t.Fatalf("%s, step %d: it cannot be tried", name, i)
				}
				if e.trying = true; e.canTry(now) {
					t.Fatalf("%s, step %d: two may try it", name, i)
				}
			} else if e.isOut() && e.canTry(e.until.Add(-1)) {
				t.Fatalf("%s, step %d: it can be tried too early", name, i)
			}
			e.ended(map[string]end{"good": goodEnd, "bad": badEnd, "unknown": unknownEnd}[how], tried, false, now, limits)
			out := -1
			if e.isOut() {
				out = max(0, int(e.until.Sub(now).Seconds()))
			}
			if out != s.out {
				t.Fatalf("%s, step %d, %s: out for %d s, want %d", name, i, s.what, out, s.out)
			}
		}
	}
}

func TestTheLastWorkerIsNotEjected(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	limits := &Balance{EjectFailures: 3, EjectTime: 10 * time.Second}
	var e ejection
	for range 10 {
		if e.ended(badEnd, false, true, now, limits); e.isOut() {
			t.Fatal("it was")
		}
	}
	if e.ended(badEnd, false, false, now, limits); !e.isOut() {
		t.Error("not with the next failure either, when there was another")
	}
	e.trying = true
	if e.ended(badEnd, true, true, now.Add(time.Minute), limits); e.isOut() {
		t.Error("the last one stayed out after it was tried")
	}
}

func TestWithoutALimitNoWorkerIsEjected(t *testing.T) {
	t.Parallel()
	var e ejection
	for range 1000 {
		if e.ended(badEnd, false, false, time.Unix(1000, 0), &Balance{EjectTime: time.Second}); e.isOut() {
			t.Fatal("it was ejected")
		}
	}
}

// TestEjectionKeepsItsPromises draws what happens to a worker.
func TestEjectionKeepsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := &Balance{EjectFailures: rapid.IntRange(1, 6).Draw(t, "failures"), EjectTime: time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second}
		now := time.Unix(1000, 0)
		var e ejection
		row := 0 // bad ends in a row
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "pass")) * time.Second)
			how := rapid.SampledFrom([]end{unknownEnd, goodEnd, badEnd, badEnd, badEnd}).Draw(t, "end")
			tried := e.canTry(now) && rapid.Bool().Draw(t, "try")
			e.trying = e.trying || tried
			before := e
			e.ended(how, tried, false, now, limits)
			switch {
			case before.isOut() && !tried:
				if e != before {
					t.Fatalf("what began before changed %+v to %+v", before, e)
				}
				continue
			case how == badEnd:
				row++
			case how == goodEnd:
				row = 0
			}
			if want := how == badEnd && (tried || row >= limits.EjectFailures) || how == unknownEnd && tried; e.isOut() != want {
				t.Fatalf("out: %v after %d bad ends, tried: %v; want %v", e.isOut(), row, tried, want)
			}
			if e.isOut() && how == badEnd {
				row = 0
				if pause := e.until.Sub(now); pause < limits.EjectTime || pause > max(longestPause, limits.EjectTime) {
					t.Fatalf("out for %v with %v", pause, limits.EjectTime)
				}
			}
		}
	})
}
