package supervisor

import (
	"fmt"
	"log/slog"
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
	began time.Time
	ends  int // of its workers, by themselves
}

// serves notes which version serves from now on.
func (p *page) serves(v version, why reason) {
	if v == p.live {
		return
	}
	p.previous, p.live = p.live, v
	if why == putBack {
		p.previous = version{} // that one is no better
	}
	p.probation = probation{version: v, began: time.Now()}
}

// failsProbation notes that a version ended by itself, and reports whether it
// did so once too often.
func (p *page) failsProbation(v version) bool {
	if v != p.probation.version || time.Since(p.probation.began) > probationTime {
		return false
	}
	p.probation.ends++
	return p.probation.ends >= probationEnds && p.previous.binary != "" && !p.development()
}

// rollBack has the version serve again that did before.
func (p *page) rollBack(bad version, attrs []slog.Attr) {
	p.failed = fmt.Sprintf("build %d crashed %d times in its first %d s: rolled back to build %d", bad.build, p.probation.ends, int(probationTime.Seconds()), p.previous.build)
	if p.words.text != "" {
		attrs = append(attrs, slog.String("output", p.words.text))
	}
	p.tell(slog.LevelError, "the new build keeps crashing: rolling back to the previous build", append(attrs, slog.Int("previous", p.previous.build))...)
	dir, good := p.dir, p.previous.binary
	p.aside(func() func() {
		err := p.builder.RecordRollback(dir, bad.binary, good)
		return func() {
			if err != nil {
				p.tell(slog.LevelWarn, "cannot record that a build was rolled back", slog.Int("build", bad.build), slog.String("err", err.Error()))
			}
		}
	})
	p.replace(putBack, p.previous)
}

// keepBack leaves a version alone that was put back when it was last run, by this
// server or one before it, and has another serve if none does.
func (p *page) keepBack(binary, other string, attempt state.Build) {
	idle := p.serving == nil && p.asleep == nil && p.coming() == nil && p.next.IsZero()
	back := version{other, p.number + 1}
	if idle {
		p.number = back.build
	}
	if binary != p.good.binary {
		p.number++
		p.good = version{binary, p.number}
	}
	p.shown = attempt
	p.shown.Number = p.good.build
	if p.failed == "" || idle {
		p.failed = fmt.Sprintf("build %d kept crashing when it last ran and was rolled back: save a change, or rebuild, to try it again", p.good.build)
	}
	attrs := []slog.Attr{slog.Int("build", p.good.build), slog.Duration("took", attempt.Took)}
	if attempt.Trigger != "" {
		attrs = append(attrs, slog.String("file", attempt.Trigger))
	}
	p.tell(slog.LevelWarn, "the newest build was rolled back before: starting the previous build", attrs...)
	switch start := (&startAttempt{worker: worker{version: back}, reason: putBack}); {
	case !idle:
	case p.cfg.workers.OnDemand():
		p.sleep(start)
	default:
		p.start(start)
	}
}
