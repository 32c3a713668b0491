package supervisor

import (
	"testing"

	"tqserver/internal/state"
)

func TestThePhaseIsWhatMattersMost(t *testing.T) {
	for want, f := range map[state.Phase]facts{
		state.Stopped:  {stopped: true, failed: true},
		state.Building: {building: true, serving: true, failed: true},
		state.Waiting:  {portless: true},
		state.Starting: {portless: true, serving: true},
		state.Failed:   {failed: true, serving: true},
		state.Serving:  {serving: true, crashed: true},
		state.Crashed:  {crashed: true},
		state.Asleep:   {asleep: true},
	} {
		if got := phase(f); got != want {
			t.Errorf("%+v is %s, not %s", f, got, want)
		}
	}
	if got := phase(facts{starting: true, serving: true}); got != state.Starting {
		t.Errorf("a page that starts beside a serving worker is %s", got)
	}
}
