// Package load measures what pages do and take: requests, response times, memory
// and CPU.
//
// One [Sampler] measures all pages, so that front ends are woken at most four
// times a second, however many pages there are, and not at all while nothing
// changes. Its goroutine is that of Run's caller.
package load

import (
	"context"
	"sync/atomic"
	"time"

	"tqserver/internal/process"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

const (
	measureEvery   = 250 * time.Millisecond
	usageEvery     = 2 * time.Second
	usageEveryIdle = 10 * time.Second
	rateOver       = 2 * time.Second
	responsesOver  = 10 * time.Second
)

// Sampler measures pages and puts their loads into a store.
type Sampler struct {
	store  *state.Store
	usage  func(pid int) (process.Usage, error)
	routes atomic.Pointer[map[string]*proxy.Route]

	// The rest belongs to Run.
	gauges map[string]*gauge // by route
	loads  []state.Load      // reused
}

// New returns a Sampler for the pages of a store. It measures nothing before Run.
func New(store *state.Store) *Sampler {
	s := &Sampler{store: store, usage: process.ReadUsage, gauges: make(map[string]*gauge)}
	s.routes.Store(new(map[string]*proxy.Route))
	return s
}

// SetRoutes sets the routes to measure. The caller must not change the map
// afterwards.
func (s *Sampler) SetRoutes(routes map[string]*proxy.Route) { s.routes.Store(&routes) }

// Run measures until the context ends, and then a last time.
func (s *Sampler) Run(ctx context.Context) {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.measure(time.Now())
		case <-ctx.Done():
			s.measure(time.Now())
			return
		}
	}
}

func (s *Sampler) measure(now time.Time) {
	routes := *s.routes.Load()
	for route := range s.gauges {
		if routes[route] == nil {
			delete(s.gauges, route)
		}
	}
	s.loads = s.loads[:0]
	for route, entry := range routes {
		g := s.gauges[route]
		if g == nil || g.entry != entry {
			g = &gauge{entry: entry, load: state.Load{Page: route}}
			s.gauges[route] = g
		}
		g.measureTraffic(now)
		page, _ := s.store.Page(route)
		g.measureProcess(now, servingPID(page), s.usage)
		s.loads = append(s.loads, g.load)
	}
	s.store.SetLoads(s.loads)
}

// servingPID returns the process that serves a page, or 0.
func servingPID(p state.Page) int {
	for _, w := range p.Workers {
		if w.Role == state.RoleServing {
			return w.PID
		}
	}
	return 0
}

// gauge measures one page.
type gauge struct {
	entry  *proxy.Route
	load   state.Load // measured last
	window window

	// The last sample of the serving process:
	pid      int           // 0 if there is none
	cpu      time.Duration // used so far
	at       time.Time
	requests uint64 // ended so far
	steady   bool   // memory and CPU were as in the sample before
}

// measureTraffic counts the page's requests.
func (g *gauge) measureTraffic(now time.Time) {
	t, l := g.entry.Traffic(), &g.load
	l.Requests, l.Errors, l.InFlight, l.Draining, l.Upgraded = t.Requests, t.Errors, t.InFlight, t.Draining, t.Upgraded
	g.window.add(now, t.Requests, g.entry.Durations)
	l.Rate = g.window.rate(now)
	if took := g.window.responses(now); took != nil {
		if median := took.Quantile(0.5); median > 0 {
			l.P50, l.P95, l.P99 = threeDigits(median), threeDigits(took.Quantile(0.95)), threeDigits(took.Quantile(0.99))
		}
	}
}

// measureProcess samples the serving process: at once if it is a new one, then
// every two seconds, or every ten while it is idle.
func (g *gauge) measureProcess(now time.Time, pid int, sample func(pid int) (process.Usage, error)) {
	if pid == g.pid && (pid == 0 || now.Sub(g.at) < g.interval()-measureEvery/2) {
		return
	}
	last := *g
	g.pid, g.steady, g.load.Memory, g.load.CPU = 0, false, 0, 0
	if pid == 0 {
		return
	}
	u, err := sample(pid)
	if err != nil { // it has just ended, or this system cannot tell
		return
	}
	g.pid, g.cpu, g.at, g.requests = pid, u.CPU, now, g.load.Requests
	g.load.Memory = wholeMiB(u.Memory)
	if pid == last.pid {
		g.load.CPU = percent(u.CPU-last.cpu, now.Sub(last.at))
		g.steady = g.load.Memory == last.load.Memory && g.load.CPU == last.load.CPU
	}
}

// interval returns how long the last sample is good for. Sampling is most of what
// an idle server does.
func (g *gauge) interval() time.Duration {
	if g.steady && g.load.InFlight == 0 && g.load.Requests == g.requests {
		return usageEveryIdle
	}
	return usageEvery
}
