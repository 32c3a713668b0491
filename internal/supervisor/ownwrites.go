package supervisor

import (
	"slices"
	"time"

	"tqserver/internal/state"
)

// A page that writes a file that it is built from, whenever it starts, would be
// built and replaced for ever. A save does not say who made it, but when it comes
// does. The page's own saves come
//
//   - shortly after a worker was started, start after start,
//   - before anybody could see that worker serve, and so wait for it to save,
//   - and not once while there is no start.
//
// Somebody who saves often does the first for a while, and not the others.
const (
	followWithin = 2 * time.Second // of its start a worker's own writes come
	fewRounds    = 3
	quietTime    = time.Second // after that, in which somebody who saves often would
	manyRounds   = 20          // until somebody who saves often is suspected again
	forgetAfter  = 10 * longPause
)

// ownWrites tells whether a page writes what it is built from.
type ownWrites struct {
	startedAt time.Time     // the newest start
	followed  bool          // by a save
	rounds    int           // starts in a row that were
	unseen    int           // the last of them, each before its worker served
	servingAt time.Time     // when its worker began to serve
	lag       time.Duration // the longest from there to the first save
	span      time.Duration // from the newest start to the last save
	files     []string

	waiting     bool          // the next build waits, for whether there is a save without a start
	writesFor   time.Duration // after a start, when its own saves are over
	waited      bool          // it did, and there was none
	cleared     int           // how often there was
	confirmed   bool          // the page does
	stopped     bool          // so it is not built
	resumed     int           // how often it was nevertheless
	lastResumed time.Time
}

// recordStart notes a start. If somebody may be waiting for workers to save again,
// the next is hidden until one who writes as it starts would have done so.
func (d *decision) recordStart(s *start) {
	o := &d.ownWrites
	if !o.followed && s.startedAt.Sub(o.startedAt) > followWithin {
		*o = ownWrites{rounds: min(o.rounds, 0)}
	}
	o.startedAt, o.followed, o.span = s.startedAt, false, 0
	if o.rounds >= fewRounds || o.confirmed {
		s.hidden = o.lag + o.lag/2 + 100*time.Millisecond
	}
}

// recordSwap notes that a worker begins to serve.
func (d *decision) recordSwap(s start) {
	switch {
	case s.hidden == 0, d.ownWrites.followed:
	case d.ownWrites.confirmed:
		d.ownWrites = ownWrites{startedAt: s.startedAt} // not any more
	default:
		d.ownWrites = ownWrites{startedAt: s.startedAt, rounds: -manyRounds, cleared: d.ownWrites.cleared} // who saved had seen the workers
	}
	d.ownWrites.servingAt = d.now.time
}

// isOwnWrite notes a save and reports whether it is one that the page made
// itself, and is not to be built, or not yet.
func (d *decision) isOwnWrite(c change) bool {
	if d.goal == stopped || d.goal == closing {
		return false
	}
	o := &d.ownWrites
	follows := !o.startedAt.IsZero() && !c.at.Before(o.startedAt) && c.at.Sub(o.startedAt) <= followWithin
	repeated := follows && o.followed
	if follows {
		d.recordWrite(c)
	}
	switch {
	case o.stopped:
		return !d.resumeBuilding(c, follows)
	case o.waiting && c.at.Sub(o.startedAt) > o.writesFor:
		*o = ownWrites{startedAt: o.startedAt, followed: true, rounds: -manyRounds, cleared: o.cleared + 1}
	case o.waiting:
		return true
	case !follows:
		o.rounds, o.unseen, o.lag, o.waited = min(o.rounds, 0), 0, 0, false
		if !o.confirmed {
			o.files = nil
		}
	case repeated:
	case o.confirmed, o.waited && o.unseen >= fewRounds:
		d.stopBuilding(c)
		return true
	case o.rounds >= fewRounds && o.unseen >= fewRounds-1:
		d.cancelBuild()
		o.waiting = true
		o.writesFor = min((2*o.span+300*time.Millisecond)<<o.cleared, followWithin)
		d.lastSave, d.rebuildAt = c, o.startedAt.Add(o.writesFor+quietTime)
		return true
	}
	return false
}

// recordWrite notes a save that follows a start.
func (d *decision) recordWrite(c change) {
	o := &d.ownWrites
	if !o.stopped && !slices.Contains(o.files, c.file) {
		o.files = append(slices.Clip(o.files), c.file)
	}
	if !o.waiting {
		o.span = c.at.Sub(o.startedAt)
	}
	if o.followed {
		return
	}
	o.followed = true
	o.rounds++
	o.unseen++
	unseen := false
	for _, s := range d.seats {
		if s.start.launched() && s.start.startedAt.Equal(o.startedAt) {
			unseen = true
			if s.start.hidden != 0 {
				d.do(reveal{s.start.id})
			}
		}
	}
	if !unseen {
		o.unseen, o.lag = 0, max(o.lag, min(c.at.Sub(o.servingAt), followWithin))
	}
}

// stopBuilding leaves the page as it is.
func (d *decision) stopBuilding(c change) {
	d.cancelBuild()
	d.ownWrites.confirmed, d.ownWrites.stopped = true, true
	const message = "the page seems to write this file whenever it starts, and the file is part of its build: it will not be rebuilt until you save another file or rebuild it yourself. Write the file to a folder that is not part of the build, and read it at run time"
	d.buildNumber++
	d.failure = state.Trouble{Kind: state.TroubleBuild, Text: d.show(c.file) + ": " + message}
	d.lastBuild = state.Build{Number: d.buildNumber, Trigger: d.show(c.file), Started: c.at, Problems: []state.Problem{{File: d.show(c.file), Message: message}}}
	d.publishEvent(state.LevelWarn, "the page writes a file of its own build", state.String("file", d.show(c.file)), state.String("err", message))
}

// resumeBuilding has a page built that writes its own files, if a save is of
// another, or does not come with a start, and reports whether it is an ordinary
// one.
func (d *decision) resumeBuilding(c change, follows bool) bool {
	o := &d.ownWrites
	own := slices.Contains(o.files, c.file)
	switch {
	case follows && own:
		return false
	case !follows && !own:
		return true
	case c.at.Sub(o.lastResumed) > forgetAfter:
		o.resumed = 0
	}
	o.lastResumed = c.at
	o.resumed++
	if pause := d.pause(0, o.resumed); pause > 0 { // files that have another name each time
		d.buildIn(pause, c)
	} else {
		d.buildOrQueue(c)
	}
	return false
}
