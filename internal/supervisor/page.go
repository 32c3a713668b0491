package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"tqserver/internal/build"
	"tqserver/internal/config"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// page is the actor of one page.
//
//	save ──► building ──► starting ──► serving ──► draining ──► gone
//	            │            │            │
//	            ▼            ▼            ▼ crash, again after a pause
//	          failed       failed      starting
//
// On demand a page whose build is good sleeps before it starts, until it is
// asked for, and again when nobody has asked for long (sleep.go).
//
// All fields below the channels belong to the actor's goroutine. What takes
// time runs in goroutines of its own (aside), whose results are functions that
// the actor calls; a result of something that was superseded finds that it is
// not the present attempt any more and only cleans up.
type page struct {
	*house
	route string
	entry *proxy.Route
	out   *output

	changed chan change   // holds one: a hundred saves are one
	asked   chan struct{} // holds one: requests have begun to wait
	inbox   chan func()   // what the supervisor asks
	results chan func()   // what came of what runs aside
	gone    chan struct{}

	life        context.Context // of what runs aside: it ends with its work, not with the actor's context
	ending      <-chan struct{} // closed when the page is to end
	dir         string
	cfg         settings
	outstanding int // results still to come
	stopped     bool
	dirty       bool // saved while stopped
	closing     bool
	removed     bool // from disk: the route may be another page's by now
	conflict    string

	number   int           // of the newest build that counts
	shown    state.Build   // the newest attempt
	lastSave change        // what the newest build is about
	building *buildAttempt // nil if none runs
	again    *change       // build once more after this one
	learning context.CancelFunc
	burst    burst
	failed   string // why the newest version cannot serve
	down     string // why none does, as far as crashes counts
	ended    state.Exit
	words    words

	good      version // the newest good build
	live      version // that serves, or served last
	previous  version // that served before it, unless it was put back for it
	probation probation
	starting  *startAttempt
	redo      reason        // of a start whose binary was gone
	portless  *startAttempt // waits for a port
	asleep    *startAttempt // waits until it is asked for
	freed     <-chan struct{}
	reserved  int // a port kept for the next worker
	leaving   int // workers that were given up before they served; their ports come back

	serving  *worker
	draining map[*worker]bool

	crashes    int // in a row, of workers that end or lose their health
	heavy      int // replacements in a row for max_memory, of workers that nobody asked for anything
	missing    int // starts in a row whose binary was gone
	scarce     int // starts in a row that the system had no means for
	evicted    int // starts in a row whose port was taken
	superseded int // builds in a row that had missed a save
	own        ownWrites
	restarts   int
	next       time.Time
	retry      *time.Timer // next start
	retrying   func()
	unbuilt    int         // builds in a row that could not be made
	rebuild    *time.Timer // next of them; only while none runs
	calm       *time.Timer // a minute of health
	recheck    *time.Timer // of ports
	touching   *time.Timer // until touched files count
	health     *time.Timer
	probing    bool
	scales     *time.Timer // until it is looked what memory the worker takes
	idle       *time.Timer // until it is looked whether anybody asks; on demand only
	lull       lull

	touched    []string // files that need no build and were not told of yet
	assets     int      // how often there were some
	assetFiles []string // the last of them

	settled []func(replaced bool) // who waits for a configuration to be in force
}

// change is a save.
type change struct {
	file  string // empty at start
	at    time.Time
	stale bool // nobody saved: the build before may have missed a save
	again bool // nobody saved: what could not be done is tried again
}

// settings are what a page needs of the configuration.
type settings struct {
	worker  config.WorkerSettings
	workers config.Workers
	project folderID // in which workers run; zero if it is not known
	logFile config.LogFile

	debounce time.Duration // changes that follow one another faster belong together
}

// words are the last of a worker that did not start.
type words struct {
	version
	text string
}

type buildAttempt struct {
	change change
	force  bool
	began  time.Time
	took   time.Duration // set when it has ended
	cancel context.CancelFunc
}

func newPage(h *house, route, dir string, cfg settings) *page {
	p := &page{
		house: h, route: route, dir: dir, cfg: cfg,
		changed:  make(chan change, 1),
		asked:    make(chan struct{}, 1),
		inbox:    make(chan func()),
		results:  make(chan func()),
		gone:     make(chan struct{}),
		draining: make(map[*worker]bool),
		retry:    idleTimer(), rebuild: idleTimer(), calm: idleTimer(), recheck: idleTimer(), health: idleTimer(), scales: idleTimer(), touching: idleTimer(), idle: idleTimer(),
	}
	p.entry = &proxy.Route{Name: route, Demand: p.asked}
	p.out = newOutput(h, route, cfg.logFile)
	return p
}

// change tells the actor of a save. It never waits: a save that is not yet
// acted on stands for the next ones too.
func (p *page) change(c change) {
	select {
	case p.changed <- c:
	default:
	}
}

// ask has f called by the actor, waits for that, and reports whether there
// still is one.
func (p *page) ask(f func()) bool {
	done := make(chan struct{})
	select {
	case p.inbox <- func() { defer close(done); f() }:
		<-done
		return true
	case <-p.gone:
		return false
	}
}

// run is the actor. It ends when ctx has and everything is cleaned up.
func (p *page) run(ctx context.Context) {
	defer close(p.gone)
	defer p.out.close()
	p.life, p.ending = context.WithoutCancel(ctx), ctx.Done()
	p.build(change{at: time.Now()}, false)
	ended := p.ending
	for !p.closing || p.outstanding > 0 {
		select {
		case c := <-p.changed:
			if !p.writesItself(c) {
				p.save(c)
			}
		case f := <-p.inbox:
			f()
		case f := <-p.results:
			p.outstanding--
			f()
		case <-p.lost():
			p.crashed()
		case <-p.worn():
			p.replace(maxRequests, p.serving.version)
		case <-p.freed:
			p.seekPort()
		case <-p.recheck.C:
			p.seekPort()
		case <-p.retry.C:
			p.tryAgain()
		case <-p.rebuild.C:
			p.buildUnlessPaused(p.lastSave)
		case <-p.calm.C:
			p.crashes = 0
		case <-p.health.C:
			p.checkHealth()
		case <-p.scales.C:
			p.weigh()
		case <-p.touching.C:
			p.showTouched()
		case <-p.awaitedBuild():
			p.hurryBuild()
		case <-p.awaited():
			p.start(p.asleep)
		case <-p.idle.C:
			p.lookIdle()
		case <-ended:
			ended = nil
			p.close(shuttingDown)
		}
	}
}

// aside runs work beside the actor, and what it returns in it.
func (p *page) aside(work func() (result func())) {
	p.outstanding++
	go func() { // ends with work: the actor takes every result
		p.results <- work()
	}()
}

// lost fires when the serving worker has ended.
func (p *page) lost() <-chan struct{} {
	if p.serving == nil {
		return nil
	}
	return p.serving.Done()
}

// worn fires when the serving worker has had its number of requests.
func (p *page) worn() <-chan struct{} {
	if !p.steady() {
		return nil
	}
	return p.serving.backend.Spent()
}

// mostDraining bounds how many workers of a page still have requests under way
// when one is replaced for its age: with long streams and a small max_requests
// they would become hundreds.
const mostDraining = 8

// steady reports whether a worker serves, no other is on its way or planned, and
// not too many are on their way out.
func (p *page) steady() bool {
	return p.serving != nil && p.coming() == nil && p.redo == "" && p.next.IsZero() && len(p.draining) < mostDraining
}

// save acts on a change on disk.
func (p *page) save(c change) {
	if p.closing {
		return
	}
	if p.stopped {
		p.dirty = true
		return
	}
	p.calmDown()
	starves := p.burst.starves(time.Now())
	if p.building != nil && !starves {
		p.building.cancel()
	}
	p.buildNow(c)
}

// buildUnlessPaused has what nobody saved just now built. While saves are to wait,
// it waits with them, as it would build them too.
func (p *page) buildUnlessPaused(c change) {
	if p.paused.Load() {
		p.missed.Store(true)
	} else {
		p.buildNow(c)
	}
}

// buildNow builds, or does so when the build has ended that runs.
func (p *page) buildNow(c change) {
	if p.building == nil {
		p.build(c, false)
	} else {
		p.again = &c
	}
}

// calmDown forgets crashes: somebody did something about them.
func (p *page) calmDown() {
	p.crashes, p.heavy, p.unbuilt, p.missing, p.scarce, p.evicted, p.superseded = 0, 0, 0, 0, 0, 0, 0
	p.next = time.Time{}
	p.retry.Stop()
}

// build begins a build. There is none.
func (p *page) build(c change, force bool) {
	p.again = nil
	p.rebuild.Stop()
	if p.own.waiting {
		p.own.waiting, p.own.waited = false, true
	}
	p.own.stopped = false
	if p.learning != nil {
		p.learning()
	}
	ctx, cancel := context.WithCancel(p.life) // ended by the actor, at the latest in close
	a := &buildAttempt{change: c, force: force, began: time.Now(), cancel: cancel}
	p.building = a
	if p.serving == nil && !c.again {
		p.entry.Hold()
	}
	if c.file == "" && p.number == 0 {
		p.tell(slog.LevelInfo, "building") // the first can take long
	} else {
		p.publish()
	}
	dir, debounce := p.dir, p.cfg.debounce
	p.hurryBuild()
	p.aside(func() func() {
		defer cancel()
		res, err := p.builder.Build(ctx, dir, force)
		a.took = time.Since(a.began)
		if res.Binary == "" {
			untilSettled(ctx, c.at.Add(debounce))
		}
		if ctx.Err() != nil {
			err = ctx.Err() // cancelled, if only just and whatever came of it: a newer one follows
		}
		if err != nil && ctx.Err() == nil && gone(dir) {
			err = context.Canceled // the page went, which the supervisor sees to
		}
		return func() { p.built(a, res, err) }
	})
}

// hurryBuild has the build that runs go before others if people wait for it.
func (p *page) hurryBuild() {
	if p.entry.Held() > 0 {
		p.hurry(p.dir)
	}
}

// untilSettled waits for the end of a change that does not build. It may be half of
// one: editors and shells empty a file before they write it.
func untilSettled(ctx context.Context, end time.Time) {
	left := time.Until(end)
	if left <= 0 {
		return
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func gone(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, fs.ErrNotExist)
}

// built is the end of a build.
func (p *page) built(a *buildAttempt, res build.Result, err error) {
	p.building = nil
	if p.closing || p.stopped {
		p.settle(false)
		return
	}
	if errors.Is(err, context.Canceled) {
		if p.again != nil {
			p.build(*p.again, a.force)
		} else {
			p.publish()
		}
		return
	}
	p.lastSave = a.change
	if !res.Cached && !res.Stale {
		p.learn()
	}
	if err == nil {
		p.unbuilt = 0
	}
	number := p.number + 1
	attempt := state.Build{Number: number, Trigger: p.show(a.change.file), Started: a.began, Took: a.took, Cached: res.Cached, Problems: res.Problems}
	switch {
	case err != nil:
		attempt.Problems = []state.Problem{{Message: err.Error()}}
		p.number, p.shown = number, attempt
		p.buildFailed()
		if !errors.Is(err, build.ErrNoGo) { // a full disk has space again some day
			p.unbuilt++
			p.buildIn(max(time.Second, pauseBefore(p.unbuilt)), change{file: a.change.file, at: a.change.at, stale: a.change.stale, again: true})
		}
	case res.Binary == "":
		p.number, p.shown = number, attempt
		p.buildFailed()
	case res.RolledBackTo != "" && !p.development():
		p.keepBack(res.Binary, res.RolledBackTo, attempt)
	default:
		p.goodBuild(a, res.Binary, attempt)
	}
	if res.InputsErr != nil && !errors.Is(res.InputsErr, build.ErrNoGo) {
		p.tell(slog.LevelWarn, "cannot determine which files the page is built from", slog.String("err", res.InputsErr.Error()))
	}
	switch {
	case p.building != nil:
	case p.again != nil:
		p.build(*p.again, false)
	case res.Stale && err == nil:
		p.overtaken()
	}
	p.settle(false)
}

// overtaken builds once more what has changed while it was built, if nobody says
// so.
func (p *page) overtaken() {
	p.superseded++
	p.buildIn(pauseBefore(p.superseded), change{at: time.Now(), stale: true})
}

func (p *page) buildFailed() {
	p.failed, p.words = "the newest build failed", words{}
	attrs := []slog.Attr{slog.Int("build", p.number), slog.Duration("took", p.shown.Took)}
	if p.shown.Trigger != "" {
		attrs = append(attrs, slog.String("file", p.shown.Trigger))
	}
	if p.serving != nil {
		attrs = append(attrs, slog.Int("serving", p.serving.build))
	}
	problems := make([]string, len(p.shown.Problems))
	for i, problem := range p.shown.Problems {
		problems[i] = problem.String()
	}
	attrs = append(attrs, slog.String("err", strings.Join(problems, "\n")))
	p.tell(slog.LevelError, "build failed", attrs...)
	switch {
	case p.coming() != nil:
	case p.serving != nil && p.serving.settings != p.cfg.worker:
		p.replace(configuration, p.serving.version)
	case p.serving != nil, p.asleep != nil:
	case !p.next.IsZero() && p.missing == 0:
		p.entry.Refuse(keepsEnding(p.next))
	case !p.next.IsZero():
		p.entry.Refuse(brokenPage)
	case p.live.binary != "":
		p.replace(crash, p.live) // it had ended by itself
	default:
		p.entry.Refuse(brokenPage)
	}
}

// buildIn plans a build.
func (p *page) buildIn(pause time.Duration, c change) {
	p.lastSave = c
	p.rebuild.Reset(pause)
}

var brokenPage = proxy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is not available", Detail: "Its newest version does not build, and there is no older one."}

// goodBuild starts a binary, unless that is what serves or starts already.
func (p *page) goodBuild(a *buildAttempt, binary string, attempt state.Build) {
	failed, last, coming := p.failed, p.words, p.coming()
	p.failed, p.words = "", words{}
	if answers := p.answers(); answers.binary == binary {
		if coming != nil && coming.binary != binary {
			p.dropStart()
			coming = nil
		}
		p.good = answers
		p.shown = attempt
		p.shown.Number = answers.build
		attrs := []slog.Attr{slog.Int("serving", answers.build), slog.Duration("took", attempt.Took)}
		if attempt.Trigger != "" {
			attrs = append(attrs, slog.String("file", attempt.Trigger))
		}
		switch {
		case failed != "":
			p.tell(slog.LevelInfo, "fixed: the newest version is serving", attrs...)
		case a.change.stale:
			p.publish()
		default:
			p.tell(slog.LevelInfo, "nothing changed", attrs...)
		}
		switch {
		case coming != nil: // it was asked for otherwise
		case p.redo != "":
			p.replace(p.redo, p.good)
		case p.serving != nil && p.outdated(p.serving):
			p.replace(configuration, p.good)
		}
		return
	}
	if coming != nil && coming.binary == binary && (p.starting == nil || !p.outdated(&p.starting.worker)) {
		p.good, p.shown = coming.version, attempt
		p.shown.Number = coming.build
		p.publish()
		return
	}
	if a.change.stale && p.good.binary == binary && (p.serving != nil || coming != nil || !p.next.IsZero()) {
		p.failed, p.words = failed, last // if it does not start, that was told
		p.publish()
		return
	}
	if binary != p.good.binary {
		p.number++
		p.shown = attempt
		p.good = version{binary, p.number}
	}
	next := &startAttempt{worker: worker{version: p.good}, reason: newBuild, change: a.change, buildTook: attempt.Took}
	if p.cfg.workers.OnDemand() && p.serving == nil && p.coming() == nil {
		p.sleep(next, slog.Duration("build_took", attempt.Took))
	} else {
		p.start(next)
	}
}

// answers is the version that serves, or would if the page was asked for.
func (p *page) answers() version {
	switch {
	case p.serving != nil:
		return p.serving.version
	case p.asleep != nil:
		return p.asleep.version
	}
	return version{}
}

// learn finds out how to build the page faster, when nothing else is to do.
func (p *page) learn() {
	ctx, cancel := context.WithCancel(p.life) // ended by the next build, at the latest in close
	p.learning = cancel
	dir := p.dir
	p.aside(func() func() {
		defer cancel()
		stale, err := p.builder.Optimize(ctx, dir)
		return func() {
			switch {
			case ctx.Err() == context.Canceled && err != nil, errors.Is(err, build.ErrNoGo), p.closing:
			case err != nil:
				p.tell(slog.LevelWarn, "cannot record how the page was built", slog.String("err", err.Error()))
			case !stale:
				p.superseded = 0
			case p.building == nil && !p.stopped: // or else one is under way that will tell of itself
				p.overtaken()
			}
		}
	})
}

// moved has the page built from another folder.
func (p *page) moved(dir string, cfg settings) {
	p.dir, p.cfg = dir, cfg
	p.out.open(cfg.logFile)
	p.save(change{at: time.Now()})
}

var (
	shuttingDown = proxy.Refusal{Status: http.StatusServiceUnavailable, Title: "The server is shutting down", Detail: "Try again in a moment."}
	wasRemoved   = proxy.Refusal{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no page here any more."}
)

// remove ends the page because it is not on disk any more. Nothing that is
// still to come of it is taken for the state of its route.
func (p *page) remove() {
	p.close(wasRemoved)
	s := p.state()
	p.store.Publish(state.Event{Message: "page removed", Attrs: []slog.Attr{slog.String("page", p.route)}, Page: &s, Removed: true})
	p.removed = true
}

// close ends the page for good.
func (p *page) close(refusal proxy.Refusal) {
	if p.closing {
		return
	}
	p.closing = true
	p.quiet()
	p.entry.Refuse(refusal)
	if w := p.serving; w != nil {
		p.serving = nil
		p.retire(w, proxy.GoingAway, false)
	}
	p.settle(false)
}

// quiet gives up whatever is under way but for drains.
func (p *page) quiet() {
	p.calmDown()
	p.cancelBuild()
	if p.learning != nil {
		p.learning()
	}
	p.dropStart()
	p.asleep = nil
	if p.reserved != 0 {
		p.ports.release(p.reserved)
		p.reserved = 0
	}
	for _, t := range []*time.Timer{p.rebuild, p.calm, p.recheck, p.health, p.scales, p.touching, p.idle} {
		t.Stop()
	}
}

// tell publishes the page with a line for the log.
func (p *page) tell(level slog.Level, message string, attrs ...slog.Attr) {
	p.entry.SetNewer(p.newest())
	e := state.Event{Level: level, Message: message, Attrs: append([]slog.Attr{slog.String("page", p.route)}, attrs...)}
	if !p.removed {
		s := p.state()
		e.Page = &s
	}
	p.store.Publish(e)
}

// publish publishes the page.
func (p *page) publish() {
	p.entry.SetNewer(p.newest())
	if !p.removed {
		s := p.state()
		p.store.Publish(state.Event{Page: &s})
	}
}

// state is what the world may see of the page.
func (p *page) state() state.Page {
	s := state.Page{
		Route: p.route, Dir: p.show(p.dir), Build: p.shown, Restarts: p.restarts, Next: p.next, Problem: p.failed, LastOutput: p.words.text, LastExit: p.ended, Log: p.show(p.out.path()),
		AssetChanges: p.assets, AssetFiles: p.assetFiles,
		Phase: phase(facts{
			stopped: p.stopped, building: p.building != nil, starting: p.starting != nil, portless: p.portless != nil,
			failed: p.failed != "", serving: p.serving != nil, asleep: p.asleep != nil, crashed: !p.next.IsZero(),
		}),
	}
	if s.Problem == "" && p.serving == nil && p.crashes > 0 {
		s.Problem = p.down
	}
	if p.conflict != "" {
		s.Problem = p.conflict
	}
	if a := p.building; a != nil {
		s.Build = state.Build{Number: p.number + 1, Trigger: p.show(a.change.file), Started: a.began}
	}
	if a := p.starting; a != nil {
		s.Workers = append(s.Workers, a.worker.state(state.RoleStarting))
		if a.reason == onDemand {
			s.ServingBuild = a.build // as while it slept
		}
	}
	if p.asleep != nil {
		s.ServingBuild = p.asleep.build
	}
	if w := p.serving; w != nil {
		s.ServingBuild, s.Swap = w.build, w.swap
		s.Workers = append(s.Workers, w.state(state.RoleServing))
	}
	for w := range p.draining {
		s.Workers = append(s.Workers, w.state(state.RoleDraining))
	}
	return s
}

func (p *page) show(path string) string { return show(p.root, path) }

func idleTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
