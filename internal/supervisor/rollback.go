package supervisor

import (
	"fmt"
	"time"

	"tqserver/internal/state"
)

// Outside development a new version is on probation when it begins to serve:
// one whose worker ends twice within that time, in the same seat, makes way for
// the version before it. In development nobody but its author sees it, who wants
// to see it fail.
const (
	probationTime = 10 * time.Second
	probationEnds = 2
)

// probation is the first time of a version.
type probation struct {
	version
	since time.Time
}

// recordServing notes which version serves from now on.
func (d *decision) recordServing(v version, why reason) {
	if v == d.lastServed {
		return
	}
	d.previous, d.lastServed = d.lastServed, v
	if why == rolledBack {
		d.previous = version{} // that one is no better
	}
	d.probation = probation{version: v, since: d.now.time}
	for i := range d.seats {
		d.seats[i].ends = 0
	}
}

// failsProbation notes that a worker ended by itself, and reports whether one of
// its version did so once too often.
func (d *decision) failsProbation(i int, v version) bool {
	if v != d.probation.version || d.now.time.Sub(d.probation.since) > probationTime {
		return false
	}
	seat := &d.seats[i]
	seat.ends++
	return seat.ends >= probationEnds && d.previous.binary != "" && !d.now.development
}

// rollBack has the version serve again that did before.
func (d *decision) rollBack(bad version, attrs []state.Attr) {
	d.failure = state.Trouble{
		Kind: state.TroubleRollback,
		Text: fmt.Sprintf("build %d crashed %d times in its first %d s: rolled back to build %d", bad.build, probationEnds, int(probationTime.Seconds()), d.previous.build),
	}
	if d.lastOutput.text != "" {
		attrs = append(attrs, state.String("output", d.lastOutput.text))
	}
	d.publishEvent(state.LevelError, "the new build keeps crashing: rolling back to the previous build", append(attrs, state.Int("previous", d.previous.build))...)
	d.do(recordRollback{dir: d.dir, bad: bad, good: d.previous.binary})
	d.replace(rolledBack, d.previous)
}

// keepRolledBack leaves a version alone that was put back when it was last run, by this
// server or one before it, and has another serve if none does.
func (d *decision) keepRolledBack(binary, other string, newest state.Build) {
	idle := !d.serves() && d.goal != asleep && !d.coming() && d.nextTry().IsZero()
	back := version{other, d.buildNumber + 1}
	if idle {
		d.buildNumber = back.build
	}
	if binary != d.newestGood.binary {
		d.buildNumber++
		d.newestGood = version{binary, d.buildNumber}
	}
	d.lastBuild = newest
	d.lastBuild.Number = d.newestGood.build
	if d.failure.Kind == "" || idle {
		d.failure = state.Trouble{
			Kind: state.TroubleRollback,
			Text: fmt.Sprintf("build %d kept crashing when it last ran and was rolled back: save a change, or rebuild, to try it again", d.newestGood.build),
		}
	}
	attrs := []state.Attr{state.Int("build", d.newestGood.build), state.Duration("took", newest.Took)}
	if newest.Trigger != "" {
		attrs = append(attrs, state.String("file", newest.Trigger))
	}
	d.publishEvent(state.LevelWarn, "the newest build was rolled back before: starting the previous build", attrs...)
	switch next := (rollout{version: back, reason: rolledBack}); {
	case !idle:
	case d.cfg.worker.OnDemand():
		d.sleep(next)
	default:
		d.roll(next)
	}
}
