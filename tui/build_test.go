package tui

import (
	"strings"
	"testing"

	"tqserver/internal/state"
)

func TestTheBuildPaneSaysWhatIsWrongWithAPage(t *testing.T) {
	for kind, want := range map[state.TroubleKind]string{
		state.TroubleCrash:    "Build  /a  #3 keeps crashing",
		state.TroubleStart:    "Build  /a  #3 does not start",
		state.TroubleRollback: "Build  /a  #3 was rolled back",
		state.TroubleConflict: "Build  /a  CONFLICT",
	} {
		page := state.Page{Route: "/a", Phase: state.Crashed, Trouble: state.Trouble{Kind: kind, Text: "why"}, Build: state.Build{Number: 3}}
		all := pageErrors([]row{{Page: page}})
		if len(all) != 1 || all[0].problem.Message != "why" {
			t.Fatalf("%s: %+v", kind, all)
		}
		if title, _ := (buildPane{err: all[0]}).title(); title != want {
			t.Errorf("%s: %s, want %s", kind, title, want)
		}
	}
}

func TestTheBuildPaneSaysThatAnotherFolderDefinesTheRoute(t *testing.T) {
	page := state.Page{Route: "/a", Phase: state.Serving, ServingBuild: 2, Trouble: state.Trouble{Kind: state.TroubleConflict, Text: "several folders define the route /a"}}
	all := pageErrors([]row{{Page: page}})
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	pane := buildPane{look: newLook(false, false), err: all[0]}
	if _, facts := pane.title(); facts != "serving #2" {
		t.Errorf("facts: %s", facts)
	}
	if text := strings.Join(pane.render(60, 3), "\n"); !strings.Contains(text, "several folders define the route /a") {
		t.Errorf("the pane: %s", text)
	}
}
