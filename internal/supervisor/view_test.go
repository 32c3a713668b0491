package supervisor

import (
	"testing"
	"time"

	"tqserver/internal/state"
)

func TestThePhaseIsWhatMattersMost(t *testing.T) {
	broken := state.Trouble{Kind: state.TroubleBuild, Text: "x"}
	serving := seat{serving: worker{id: 1}}
	portless, starts := start{phase: waiting, worker: worker{id: 2}}, start{phase: starting, worker: worker{id: 2}}
	later := retry{at: time.Unix(1, 0)}
	for want, p := range map[state.Phase]page{
		state.Stopped:  {goal: stopped, failure: broken},
		state.Building: {pipeline: pipeline{building: attempt{id: 1}}, seats: []seat{serving}, failure: broken},
		state.Waiting:  {seats: []seat{{start: portless}}},
		state.Starting: {seats: []seat{{serving: serving.serving, start: portless}}},
		state.Failed:   {seats: []seat{serving}, failure: broken},
		state.Serving:  {seats: []seat{serving, {retry: later}}},
		state.Crashed:  {seats: []seat{{retry: later}}},
		state.Asleep:   {goal: asleep},
	} {
		if got := p.phase(); got != want {
			t.Errorf("%+v is %s, not %s", p, got, want)
		}
	}
	if p := (page{seats: []seat{{serving: serving.serving, start: starts}}}); p.phase() != state.Starting {
		t.Errorf("a page that starts beside a serving worker is %s", p.phase())
	}
}
