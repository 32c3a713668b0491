package supervisor

import (
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// waitForPort waits until there is a port again. A page that serves and has
// no port coming back gives its own: slower, but never an error. One that the
// range does not hold any more would be lost for nothing.
func (p *page) waitForPort(a *startAttempt) {
	p.waitingForPort = a
	if w := p.serving; w != nil && p.ports.contains(w.port) && len(p.draining) == 0 && p.abandonedStarts == 0 {
		p.serving = nil
		p.entry.Hold()
		p.portFreed = nil
		a.replaces = w.version
		p.publishEvent(state.LevelWarn, "no spare port: the old worker stops before the new one starts")
		p.retire(w, proxy.ServiceRestart, true)
		return
	}
	p.portTimer.Reset(portRecheck) // another program may give one back
	if !a.waitPublished {
		a.waitPublished = true
		p.publishEvent(state.LevelWarn, "waiting for a port", state.String("err", "every port from workers.port_range_start to port_range_end is in use: widen the range"))
	}
}

// retryPort asks again for a port.
func (p *page) retryPort() {
	a := p.waitingForPort
	if a == nil {
		p.portFreed = nil
		return
	}
	p.start(a)
}
