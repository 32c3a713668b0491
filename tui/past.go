package tui

import (
	"time"

	"tqserver/internal/state"
)

// pastLength is how many builds and changes of health of a page are kept.
const pastLength = 20

// past is what the inspector shows of the past of pages, by route.
type past struct {
	builds  map[string][]state.Build // those that have ended, newest last
	healths map[string][]health      // changes, newest last
}

// health is how a page's worker was, from a moment on.
type health struct {
	at     time.Time
	pid    int
	failed int // checks in a row
}

func newPast() past {
	return past{builds: make(map[string][]state.Build), healths: make(map[string][]health)}
}

// add adds what is new about a page.
func (p past) add(page state.Page, at time.Time) {
	builds := p.builds[page.Route]
	if page.Build.Took > 0 && (len(builds) == 0 || !builds[len(builds)-1].Started.Equal(page.Build.Started)) {
		p.builds[page.Route] = newest(append(builds, page.Build))
	}
	healths := p.healths[page.Route]
	if w := (row{Page: page}).serving(); w != nil {
		now := health{at, w.PID, w.FailedChecks}
		if len(healths) == 0 || healths[len(healths)-1].pid != now.pid || healths[len(healths)-1].failed != now.failed {
			p.healths[page.Route] = newest(append(healths, now))
		}
	}
}

func newest[T any](all []T) []T { return all[max(0, len(all)-pastLength):] }
