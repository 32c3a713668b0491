package tui

import (
	"strings"
	"testing"

	"tqserver/internal/state"
)

func TestTheBuildPaneSaysWhetherAPageCrashesOrDoesNotStart(t *testing.T) {
	for problem, want := range map[string]string{
		"keeps crashing: exit status 2: panic: x (pages/a/main.go:9)": "#3 keeps crashing",
		"does not start: it was not ready":                            "#3 does not start",
		"build 3 does not start: it was not ready":                    "#3 does not start",
	} {
		all := troubles([]row{{Page: state.Page{Route: "/a", Phase: state.Crashed, Problem: problem, Build: state.Build{Number: 3}}}})
		if len(all) != 1 || all[0].problem.Message != problem {
			t.Fatalf("%q: %+v", problem, all)
		}
		if title, _ := (buildPane{trouble: all[0]}).title(); !strings.Contains(title, want) {
			t.Errorf("%q: %s", problem, title)
		}
	}
}
