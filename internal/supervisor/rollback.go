package supervisor

import (
	"fmt"
	"log/slog"
	"time"
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
	p.replace(putBack, p.previous)
}
