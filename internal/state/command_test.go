package state

import (
	"strings"
	"testing"
)

func TestACommandOutsideItsScopeIsRefused(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Command{
		"":                                       {Verb: Restart, Page: "/a"},
		" ":                                      {Verb: Restart}, // all pages
		"  ":                                     {Verb: Restart, Page: "/a", Seat: 2},
		"pause acts on the server: name no page": {Verb: Pause, Page: "/a"},
		"shutdown acts on the server: name no worker": {Verb: Shutdown, Seat: 1},
		"rebuild acts on pages: name no worker":       {Verb: Rebuild, Page: "/a", Seat: 1},
		`unknown command "explode": use one of restart, rebuild, stop, start, kill, pause, resume, reload, shutdown`: {Verb: "explode"},
	} {
		_, err := c.Spec()
		switch {
		case strings.TrimSpace(want) == "":
			if err != nil {
				t.Errorf("%+v is refused: %v", c, err)
			}
		case err == nil || err.Error() != want:
			t.Errorf("%+v: %v, want %s", c, err, want)
		}
	}
}

func TestTheTableOfCommandsIsComplete(t *testing.T) {
	t.Parallel()
	for _, s := range Commands() {
		if s.Help == "" || s.Key == "" || s.Scope >= ScopePage != (s.Cannot != "") {
			t.Errorf("%+v", s)
		}
		if got, err := (Command{Verb: s.Verb}).Spec(); err != nil || got != s {
			t.Errorf("%s is found as %+v, %v", s.Verb, got, err)
		}
	}
}
