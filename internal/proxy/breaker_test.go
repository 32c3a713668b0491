package proxy

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"pgregory.net/rapid"
)

var breakerLimits = &Balance{BreakerPercent: 50, BreakerMinRequests: 4, BreakerWindow: 10 * time.Second, BreakerOpen: 5 * time.Second}

// TestBreaker sends requests one after another: each letter is one that succeeds (s),
// fails (f), has no result (u) or must be refused (r); a digit lets so many seconds pass.
func TestBreaker(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		requests string
		want     BreakerState
	}{
		"too few":                       {"fff", BreakerClosed},
		"enough":                        {"ffffr", BreakerOpen},
		"half of them":                  {"ssffr", BreakerOpen},
		"fewer than half":               {"sssffsff", BreakerOpen},
		"a success opens nothing":       {"fffssss", BreakerClosed},
		"without a result":              {"fffuuuu", BreakerClosed},
		"failures are forgotten":        {"fff991f", BreakerClosed},
		"not too early":                 {"fff9fr", BreakerOpen},
		"still open":                    {"ffff4rrr", BreakerOpen},
		"it tries":                      {"ffff5s", BreakerTrying},
		"it tries twice":                {"ffff5ss", BreakerTrying},
		"it closes":                     {"ffff5sss", BreakerClosed},
		"it closes empty":               {"ffff5sssfff", BreakerClosed},
		"it opens again":                {"ffff5ssf4r", BreakerOpen},
		"three in a row":                {"ffff5ssf5ss", BreakerTrying},
		"a try without a result":        {"ffff5usus", BreakerTrying},
		"it closes after such":          {"ffff5ususus", BreakerClosed},
		"it opens a second time":        {"ffff5sssffffr", BreakerOpen},
		"it waits for ever if need be ": {"ffff999999999", BreakerOpen},
	} {
		now := time.Unix(1000, 0)
		b := newBreaker(breakerLimits, now)
		for i, c := range tt.requests {
			if c >= '0' && c <= '9' {
				now = now.Add(time.Duration(c-'0') * time.Second)
				continue
			}
			phase, ok := b.admit(now)
			if ok == (c == 'r') {
				t.Fatalf("%s: request %d of %s: admitted: %v", name, i, tt.requests, ok)
			}
			if ok {
				b.ended(phase, map[rune]end{'s': goodEnd, 'f': badEnd, 'u': unknownEnd}[c], now)
			}
		}
		if b.state != tt.want {
			t.Errorf("%s: state %v, want %v", name, b.state, tt.want)
		}
	}
}

func TestABreakerLetsOneRequestTryAtATime(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	b := newBreaker(breakerLimits, now)
	var before []uint64
	for range 6 {
		phase, _ := b.admit(now)
		before = append(before, phase)
	}
	for _, phase := range before[:4] {
		b.ended(phase, badEnd, now)
	}
	now = now.Add(5 * time.Second)
	phase, ok := b.admit(now)
	if _, second := b.admit(now); !ok || second {
		t.Fatalf("admitted: %v, and a second: %v", ok, second)
	}
	b.ended(before[4], badEnd, now) // from when it was closed
	b.ended(before[5], goodEnd, now)
	if _, second := b.admit(now); b.state != BreakerTrying || second {
		t.Errorf("older requests counted: state %v, admitted: %v", b.state, second)
	}
	b.ended(phase, goodEnd, now)
	if _, ok := b.admit(now); !ok {
		t.Error("no other request may try")
	}
}

// TestTheBreakerDoesAsGobreaker compares it with another one. That counts a request when
// it begins, so that each ends when it begins here; and it lets several try at a time.
func TestTheBreakerDoesAsGobreaker(t *testing.T) {
	failed, excluded := errors.New("failed"), errors.New("excluded")
	rapid.Check(t, func(rt *rapid.T) {
		limits := &Balance{
			BreakerPercent:     rapid.IntRange(1, 100).Draw(rt, "percent"),
			BreakerMinRequests: rapid.IntRange(1, 8).Draw(rt, "min"),
			BreakerWindow:      time.Duration(rapid.IntRange(1, 20).Draw(rt, "window")) * time.Second,
			BreakerOpen:        time.Duration(rapid.IntRange(1, 10).Draw(rt, "open")) * time.Second,
		}
		type step struct {
			pass time.Duration
			ends []end // of requests at the same time
		}
		// Of 37 ms no multiple below 37 s is a whole number of seconds, at which the two
		// differ by a nanosecond.
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				time.Duration(rapid.IntRange(0, 200).Draw(rt, "pass")) * 37 * time.Millisecond,
				rapid.SliceOfN(rapid.SampledFrom([]end{unknownEnd, goodEnd, goodEnd, badEnd, badEnd}), 1, 4).Draw(rt, "ends"),
			}
		}), 1, 60).Draw(rt, "steps")
		var diff string
		synctest.Test(t, func(t *testing.T) {
			ours := newBreaker(limits, time.Now())
			theirs := gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
				MaxRequests: goodTries, Interval: limits.BreakerWindow, BucketPeriod: limits.BreakerWindow / slots, Timeout: limits.BreakerOpen,
				ReadyToTrip: func(c gobreaker.Counts) bool {
					requests, failures := int(c.TotalSuccesses+c.TotalFailures), int(c.TotalFailures)
					return requests >= limits.BreakerMinRequests && failures*100 >= limits.BreakerPercent*requests
				},
				IsExcluded: func(err error) bool { return err == excluded },
			})
			for _, s := range steps {
				time.Sleep(s.pass)
				var phases []uint64
				var done []func(error)
				for range s.ends {
					phase, ok := ours.admit(time.Now())
					if !ok && ours.trying {
						break
					}
					end, err := theirs.Allow()
					if ok != (err == nil) {
						diff = "one admitted a request, the other did not"
						return
					}
					if ok {
						phases, done = append(phases, phase), append(done, end)
					}
				}
				for i, phase := range phases {
					ours.ended(phase, s.ends[i], time.Now())
					done[i](map[end]error{badEnd: failed, unknownEnd: excluded}[s.ends[i]])
				}
				states := map[BreakerState]gobreaker.State{BreakerClosed: gobreaker.StateClosed, BreakerOpen: gobreaker.StateOpen, BreakerTrying: gobreaker.StateHalfOpen}
				if got, want := states[ours.state], theirs.State(); got != want {
					diff = "state " + got.String() + ", want " + want.String()
					return
				}
			}
		})
		if diff != "" {
			rt.Fatal(diff)
		}
	})
}
