package supervisor

import (
	"testing"

	"tqserver/internal/state"
)

func TestEveryCommandForPagesIsCarriedOut(t *testing.T) {
	for _, s := range state.Commands() {
		if _, ok := pageCommands[s.Verb]; ok != (s.Scope >= state.ScopePage) {
			t.Errorf("%s: %v", s.Verb, ok)
		}
	}
}
