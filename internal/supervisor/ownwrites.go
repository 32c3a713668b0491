package supervisor

import (
	"slices"
	"time"

	"tqserver/internal/state"
)

// A page that writes a file that it is built from, whenever it starts, would be
// built and replaced for ever. A save says nothing of who made it, so what tells
// is when it comes:
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
	manyRounds   = 20          // until it is looked again at who was found to be somebody
	forgetAfter  = 10 * longPause
)

// ownWrites is what tells whether a page writes what it is built from.
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
// the next is not shown until one who writes as it starts would have done so.
func (p *page) recordStart(a *startAttempt) {
	o := &p.ownWrites
	if !o.followed && a.startedAt.Sub(o.startedAt) > followWithin {
		*o = ownWrites{rounds: min(o.rounds, 0)}
	}
	o.startedAt, o.followed, o.span = a.startedAt, false, 0
	if a.ownWriteSeen = nil; o.rounds >= fewRounds || o.confirmed {
		a.ownWriteSeen = make(chan struct{})
		a.hideFor = o.lag + o.lag/2 + 100*time.Millisecond
	}
}

// recordSwap notes that a worker begins to serve.
func (p *page) recordSwap(a *startAttempt) {
	switch {
	case a.ownWriteSeen == nil, p.ownWrites.followed:
	case p.ownWrites.confirmed:
		p.ownWrites = ownWrites{startedAt: a.startedAt} // not any more
	default:
		p.ownWrites = ownWrites{startedAt: a.startedAt, rounds: -manyRounds, cleared: p.ownWrites.cleared} // who saved had seen the workers
	}
	p.ownWrites.servingAt = time.Now()
}

// isOwnWrite notes a save and reports whether it is one that the page made
// itself, and is not to be built, or not yet.
func (p *page) isOwnWrite(c change) bool {
	if p.stopped || p.closing {
		return false
	}
	o := &p.ownWrites
	follows := !o.startedAt.IsZero() && !c.at.Before(o.startedAt) && c.at.Sub(o.startedAt) <= followWithin
	repeated := follows && o.followed
	if follows {
		p.recordWrite(c)
	}
	switch {
	case o.stopped:
		return !p.resumeBuilding(c, follows)
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
		p.stopBuilding(c)
		return true
	case o.rounds >= fewRounds && o.unseen >= fewRounds-1:
		p.cancelBuild()
		o.waiting = true
		o.writesFor = min((2*o.span+300*time.Millisecond)<<o.cleared, followWithin)
		p.buildAfter(time.Until(o.startedAt.Add(o.writesFor+quietTime)), c)
		p.publish()
		return true
	}
	return false
}

// recordWrite notes a save that follows a start.
func (p *page) recordWrite(c change) {
	o := &p.ownWrites
	if !o.stopped && !slices.Contains(o.files, c.file) {
		o.files = append(o.files, c.file)
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
	switch a := p.starting; {
	case a == nil || a.startedAt != o.startedAt:
		o.unseen, o.lag = 0, max(o.lag, min(c.at.Sub(o.servingAt), followWithin))
	case a.ownWriteSeen != nil:
		close(a.ownWriteSeen)
	}
}

// stopBuilding leaves the page as it is.
func (p *page) stopBuilding(c change) {
	p.cancelBuild()
	p.ownWrites.confirmed, p.ownWrites.stopped = true, true
	const message = "the page seems to write this file whenever it starts, and the file is part of its build: it will not be rebuilt until you save another file or rebuild it yourself. Write the file to a folder that is not part of the build, and read it at run time"
	p.buildNumber++
	p.failure = p.show(c.file) + ": " + message
	p.lastBuild = state.Build{Number: p.buildNumber, Trigger: p.show(c.file), Started: c.at, Problems: []state.Problem{{File: p.show(c.file), Message: message}}}
	p.publishEvent(state.LevelWarn, "the page writes a file of its own build", state.String("file", p.show(c.file)), state.String("err", message))
}

// resumeBuilding has a page built that writes its own files, if a save is of another, or
// does not come with a start, and reports whether it is an ordinary one.
func (p *page) resumeBuilding(c change, follows bool) bool {
	o := &p.ownWrites
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
	if pause := pauseBefore(o.resumed); pause > 0 { // files that have another name each time
		p.buildAfter(pause, c)
	} else {
		p.buildOrQueue(c)
	}
	return false
}
