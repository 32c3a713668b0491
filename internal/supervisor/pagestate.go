package supervisor

import (
	"tqserver/internal/project"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// publishEvent publishes the page with a line for the log.
func (p *page) publishEvent(level state.Level, message string, attrs ...state.Attr) {
	p.entry.SetNewer(p.newestStatus())
	e := state.Event{Level: level, Message: message, Attrs: append([]state.Attr{state.String("page", p.route)}, attrs...)}
	if !p.removed {
		s := p.state()
		e.Page = &s
	}
	p.store.Publish(e)
}

// publish publishes the page.
func (p *page) publish() {
	p.entry.SetNewer(p.newestStatus())
	if !p.removed {
		s := p.state()
		p.store.Publish(state.Event{Page: &s})
	}
}

// state is what the world may see of the page.
func (p *page) state() state.Page {
	s := state.Page{
		Route: p.route, Dir: p.show(p.dir), Build: p.lastBuild, Restarts: p.restarts, Next: p.nextStart, Problem: p.failure, LastOutput: p.lastOutput.text, LastExit: p.lastExit, Log: p.show(p.out.path()),
		AssetChanges: p.assetChanges, AssetFiles: p.assetFiles,
		Phase: phase(facts{
			stopped: p.stopped, building: p.building != nil, starting: p.starting != nil, portless: p.waitingForPort != nil,
			failed: p.failure != "", serving: p.serving != nil, asleep: p.asleep != nil, crashed: !p.nextStart.IsZero(),
		}),
	}
	if s.Problem == "" && p.serving == nil && p.crashes > 0 {
		s.Problem = p.crashCause
	}
	if p.conflict != "" {
		s.Problem = p.conflict
	}
	if a := p.building; a != nil {
		s.Build = state.Build{Number: p.buildNumber + 1, Trigger: p.show(a.change.file), Started: a.startedAt}
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
		s.ServingBuild, s.Swap = w.build, w.swapTook
		s.Workers = append(s.Workers, w.state(state.RoleServing))
	}
	for w := range p.draining {
		s.Workers = append(s.Workers, w.state(state.RoleDraining))
	}
	return s
}

func (w *worker) state(role state.Role) state.Worker {
	return state.Worker{
		Role: role, PID: w.pid, Port: w.port, Build: w.build, Since: w.startedAt, FailedChecks: w.failedChecks, Binary: w.binary, Env: w.env,
	}
}

// newestStatus is what is to be known of a version newer than the one that serves.
func (p *page) newestStatus() proxy.Newer {
	coming := p.pendingStart()
	switch {
	case p.building != nil, coming != nil && p.serving != nil && coming.version != p.serving.version:
		return proxy.NewerPending
	case p.failure != "":
		return proxy.NewerBroken
	}
	return proxy.NoNewer
}

// facts are what a page's phase follows from.
type facts struct {
	stopped, building, starting, portless, failed, serving, asleep, crashed bool
}

// phase is the word for a page: what was asked for first, then what is under
// way, then what is wrong.
func phase(f facts) state.Phase {
	switch {
	case f.stopped:
		return state.Stopped
	case f.building:
		return state.Building
	case f.portless && !f.serving:
		return state.Waiting
	case f.starting, f.portless:
		return state.Starting
	case f.failed:
		return state.Failed
	case f.serving:
		return state.Serving
	case f.asleep:
		return state.Asleep
	case f.crashed:
		return state.Crashed
	}
	return state.Starting
}

func (p *page) show(path string) string { return project.Show(p.root, path) }
