package supervisor

import (
	"net/http"
	"reflect"
	"time"

	"tqserver/internal/policy"
	"tqserver/internal/project"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// routing is where the requests of a page go: to workers, to a refusal, or into
// the queue if there is neither.
type routing struct {
	serving []id // by seat
	newer   proxy.Newer
	refusal *policy.Refusal
	asleep  bool // the next request is to be reported
}

var (
	shuttingDown = policy.Refusal{Status: http.StatusServiceUnavailable, Title: "The server is shutting down", Detail: "Try again in a moment."}
	wasRemoved   = policy.Refusal{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no page here any more."}
	isStopped    = policy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is stopped", Detail: "A user stopped it."}
	isBroken     = policy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is not available", Detail: "Its newest version does not build, and there is no older one."}
)

func keepsCrashing(next time.Time) policy.Refusal {
	return policy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is not available", Detail: "It keeps crashing. It will be started again soon.", RetryAt: next}
}

// routing returns where requests go in this state.
func (p *page) routing() routing {
	var r routing
	for _, s := range p.seats {
		if s.serving.id != 0 {
			r.serving = append(r.serving, s.serving.id)
		}
	}
	if r.serving != nil {
		r.newer = p.newer()
		return r
	}
	refuse := func(refusal policy.Refusal) { r.refusal = &refusal }
	switch {
	case p.removed:
		refuse(wasRemoved)
	case p.goal == closing:
		refuse(shuttingDown)
	case p.goal == stopped:
		refuse(isStopped)
	case p.goal == asleep:
		r.asleep = true
	case p.coming(), p.building.id != 0 && !p.building.change.again:
	case p.retry.rebuild:
		refuse(isBroken)
	case !p.nextTry().IsZero():
		refuse(keepsCrashing(p.nextTry()))
	case p.building.id != 0, p.failure.Kind != "":
		refuse(isBroken)
	}
	return r
}

// newer is what is to be known of a version newer than the one that serves.
func (p *page) newer() proxy.Newer {
	switch {
	case p.building.id != 0, p.coming() && p.comingVersion() != p.lastServed:
		return proxy.NewerPending
	case p.failure.Kind != "":
		return proxy.NewerBroken
	}
	return proxy.NoNewer
}

// phase returns the one word for a page: what a user wants comes first, then what
// is under way, then what is wrong.
func (p *page) phase() state.Phase {
	waits := false
	for _, s := range p.seats {
		waits = waits || s.start.id != 0 && s.start.phase == waiting
	}
	switch {
	case p.goal == stopped:
		return state.Stopped
	case p.building.id != 0:
		return state.Building
	case waits && !p.serves():
		return state.Waiting
	case p.coming():
		return state.Starting
	case p.failure.Kind != "":
		return state.Failed
	case p.serves():
		return state.Serving
	case p.goal == asleep:
		return state.Asleep
	case !p.nextTry().IsZero():
		return state.Crashed
	}
	return state.Starting
}

// view is what the world may see of the page.
func (p *page) view(log string) state.Page {
	v := state.Page{
		Route: p.route, Dir: p.show(p.dir), Build: p.lastBuild, Restarts: p.restarts, Next: p.nextTry(), Trouble: p.trouble(), LastExit: p.lastExit, Log: p.show(log),
		AssetChanges: p.assets.changes, AssetFiles: p.assets.files, Phase: p.phase(), Instances: len(p.seats), Breaker: p.breaker,
	}
	if a := p.building; a.id != 0 {
		v.Build = state.Build{Number: p.buildNumber + 1, Trigger: p.show(a.change.file), Started: a.startedAt}
	}
	switch {
	case p.serves():
		v.ServingBuild = p.lastServed.build
	case p.goal == asleep:
		v.ServingBuild = p.dormant.build
	case p.rollout.reason == onDemand:
		v.ServingBuild = p.rollout.version.build // as while it slept
	}
	add := func(w worker, role state.Role) {
		restarts := 0
		if role != state.RoleDraining {
			restarts = p.seats[w.seat].restarts
		}
		v.Workers = append(v.Workers, state.Worker{
			Role: role, Seat: w.seat + 1, Restarts: restarts, PID: w.pid, Port: w.port, Build: w.build, Since: w.startedAt, FailedChecks: w.failedChecks, EjectedUntil: w.ejectedUntil, Trying: w.trying, Binary: w.binary, Env: w.env,
		})
	}
	for _, s := range p.seats {
		if s.start.launched() {
			add(s.start.worker, state.RoleStarting)
		}
	}
	for _, s := range p.seats {
		if w := s.serving; w.id != 0 {
			v.Swap = max(v.Swap, state.Seconds(w.swap))
			add(w, state.RoleServing)
		}
	}
	for _, w := range p.draining {
		add(w.worker, state.RoleDraining)
	}
	return v
}

// trouble returns what is wrong with the page.
func (p *page) trouble() state.Trouble {
	t := p.failure
	if t.Kind == "" && !p.serves() && p.crashes() > 0 {
		t = p.crashCause
	}
	switch t.Kind {
	case state.TroubleStart, state.TroubleCrash, state.TroubleRollback:
		t.LastOutput = p.lastOutput.text
	case "":
		if p.conflict != "" {
			t = state.Trouble{Kind: state.TroubleConflict, Text: p.conflict}
		}
	}
	return t
}

// crashes is how often in a row a worker failed, in the seat where that is worst.
func (p *page) crashes() (n int) {
	for _, s := range p.seats {
		n = max(n, s.crashes)
	}
	return n
}

func (p *page) show(path string) string { return project.Show(p.root, path) }

// tell publishes the page with a line for the log.
func (d *decision) publishEvent(level state.Level, message string, attrs ...state.Attr) {
	d.do(&publish{state.Event{Level: level, Message: message, Attrs: append([]state.Attr{state.String("page", d.route)}, attrs...)}})
}

// publish has the events show the page as it is now, and publishes it without one
// if there is none and something changed.
func (d *decision) publish() {
	v, published := d.view(d.now.log), false
	for _, e := range d.effects {
		if e, ok := e.(*publish); ok && !d.removed {
			page := v
			e.event.Page = &page
			published = true
		}
	}
	if !published && !d.removed && !reflect.DeepEqual(v, d.published) {
		d.do(&publish{state.Event{Page: &v}})
	}
	d.published = v
}

// publishRemoved publishes that the page is gone.
func (d *decision) publishRemoved() {
	v := d.view(d.now.log)
	d.do(&publish{state.Event{Message: "page removed", Attrs: []state.Attr{state.String("page", d.route)}, Page: &v, Removed: true}})
}
