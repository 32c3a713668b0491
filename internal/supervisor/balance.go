package supervisor

import (
	"time"

	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

// apply publishes which workers are ejected, and whether the breaker is open.
func (e balanced) apply(d *decision) {
	for _, b := range e.now.Backends {
		if b.Seat >= len(d.seats) {
			continue
		}
		w := &d.seats[b.Seat].serving
		attrs := []state.Attr{state.Int("pid", w.pid), state.Int("port", w.port)}
		was := !w.ejectedUntil.IsZero()
		w.trying = b.Trying
		if w.ejectedUntil.Equal(b.EjectedUntil) {
			continue
		}
		w.ejectedUntil = b.EjectedUntil
		switch {
		case !b.EjectedUntil.IsZero():
			d.publishEvent(state.LevelWarn, "the worker failed too many requests: others get them", append(attrs, state.Duration("retry", b.EjectedUntil.Sub(d.now.time).Round(time.Second)))...)
		case was:
			d.publishEvent(state.LevelInfo, "the worker gets requests again", attrs...)
		}
	}
	breaker := map[proxy.BreakerState]state.Breaker{proxy.BreakerOpen: state.BreakerOpen, proxy.BreakerTrying: state.BreakerTrying}[e.now.Breaker]
	if breaker == d.breaker {
		return
	}
	was := d.breaker
	d.breaker = breaker
	switch {
	case breaker == state.BreakerOpen:
		d.publishEvent(state.LevelError, "too many requests fail: the breaker refuses all for a moment", state.Duration("retry", e.now.BreakerUntil.Sub(d.now.time).Round(time.Second)))
	case breaker == "" && was != "":
		d.publishEvent(state.LevelInfo, "requests succeed again: the breaker is closed")
	}
}
