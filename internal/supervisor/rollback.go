package supervisor

import (
	"fmt"
	"time"

	"tqserver/internal/state"
)

// Outside development a new version is on probation when it begins to serve:
// one that ends twice within that time makes way for the version before it.
// In development nobody but its author sees it, who wants to see it fail.
const (
	probationTime = 10 * time.Second
	probationEnds = 2
)

// probation is the first time of a version.
type probation struct {
	version
	since time.Time
	ends  int // of its workers, by themselves
}

// recordServing notes which version serves from now on.
func (p *page) recordServing(v version, why reason) {
	if v == p.lastServed {
		return
	}
	p.previous, p.lastServed = p.lastServed, v
	if why == rollback {
		p.previous = version{} // that one is no better
	}
	p.probation = probation{version: v, since: time.Now()}
}

// failsProbation notes that a version ended by itself, and reports whether it
// did so once too often.
func (p *page) failsProbation(v version) bool {
	if v != p.probation.version || time.Since(p.probation.since) > probationTime {
		return false
	}
	p.probation.ends++
	return p.probation.ends >= probationEnds && p.previous.binary != "" && !p.development()
}

// rollBack has the version serve again that did before.
func (p *page) rollBack(bad version, attrs []state.Attr) {
	p.failure = fmt.Sprintf("build %d crashed %d times in its first %d s: rolled back to build %d", bad.build, p.probation.ends, int(probationTime.Seconds()), p.previous.build)
	if p.lastOutput.text != "" {
		attrs = append(attrs, state.String("output", p.lastOutput.text))
	}
	p.publishEvent(state.LevelError, "the new build keeps crashing: rolling back to the previous build", append(attrs, state.Int("previous", p.previous.build))...)
	dir, good := p.dir, p.previous.binary
	p.background(func() func() {
		err := p.builder.RecordRollback(dir, bad.binary, good)
		return func() {
			if err != nil {
				p.publishEvent(state.LevelWarn, "cannot record that a build was rolled back", state.Int("build", bad.build), state.String("err", err.Error()))
			}
		}
	})
	p.replace(rollback, p.previous)
}

// keepRolledBack leaves a version alone that was put back when it was last run, by this
// server or one before it, and has another serve if none does.
func (p *page) keepRolledBack(binary, other string, attempt state.Build) {
	idle := p.serving == nil && p.asleep == nil && p.pendingStart() == nil && p.nextStart.IsZero()
	back := version{other, p.buildNumber + 1}
	if idle {
		p.buildNumber = back.build
	}
	if binary != p.newestGood.binary {
		p.buildNumber++
		p.newestGood = version{binary, p.buildNumber}
	}
	p.lastBuild = attempt
	p.lastBuild.Number = p.newestGood.build
	if p.failure == "" || idle {
		p.failure = fmt.Sprintf("build %d kept crashing when it last ran and was rolled back: save a change, or rebuild, to try it again", p.newestGood.build)
	}
	attrs := []state.Attr{state.Int("build", p.newestGood.build), state.Duration("took", attempt.Took)}
	if attempt.Trigger != "" {
		attrs = append(attrs, state.String("file", attempt.Trigger))
	}
	p.publishEvent(state.LevelWarn, "the newest build was rolled back before: starting the previous build", attrs...)
	switch start := (&startAttempt{worker: worker{version: back}, reason: rollback}); {
	case !idle:
	case p.cfg.worker.OnDemand():
		p.sleep(start)
	default:
		p.start(start)
	}
}
