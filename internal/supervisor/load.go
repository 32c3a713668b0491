package supervisor

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"tqserver/internal/process"
	"tqserver/internal/proxy"
	"tqserver/internal/state"
)

const (
	measureEvery = 250 * time.Millisecond
	usageEvery   = 2 * time.Second
	restEvery    = 10 * time.Second // of processes that have nothing to do
	rateOver     = 2 * time.Second
	answersOver  = 10 * time.Second
)

// sampler measures what pages have to do. There is one for all, so that front
// ends are woken at most four times a second, however many pages there are,
// and not at all while nothing changes.
type sampler struct {
	store  *state.Store
	usage  func(pid int) (process.Usage, error)
	routes atomic.Pointer[map[string]*proxy.Route] // the map is not changed

	// The rest belongs to run.
	gauges map[string]*gauge // by route
	loads  []state.Load      // used again
}

func newSampler(store *state.Store) *sampler {
	s := &sampler{store: store, usage: process.ReadUsage, gauges: make(map[string]*gauge)}
	s.routes.Store(new(map[string]*proxy.Route))
	return s
}

// run measures until the context ends, and then a last time.
func (s *sampler) run(ctx context.Context) {
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

func (s *sampler) measure(now time.Time) {
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
		g.traffic(now)
		page, _ := s.store.Page(route)
		g.worker(now, servingPID(page), s.usage)
		s.loads = append(s.loads, g.load)
	}
	s.store.SetLoads(s.loads)
}

// servingPID is the process that serves a page, or 0.
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
	load   state.Load // as it was measured last
	window window
	pid    int           // whose usage is known, or 0
	cpu    time.Duration // it had taken
	at     time.Time     // that was
	done   uint64        // requests that had ended then
	rests  bool          // what it took had not changed then
}

// traffic measures what the page has to do.
func (g *gauge) traffic(now time.Time) {
	t, l := g.entry.Traffic(), &g.load
	l.Requests, l.Errors, l.InFlight, l.Draining, l.Upgraded = t.Requests, t.Errors, t.InFlight, t.Draining, t.Upgraded
	g.window.add(now, t.Requests, g.entry.Durations)
	l.Rate = g.window.rate(now)
	if took := g.window.answers(now); took != nil {
		if median := took.Quantile(0.5); median > 0 {
			l.P50, l.P95 = threeDigits(median), threeDigits(took.Quantile(0.95))
		}
	}
}

// worker measures what the serving process takes: at once if it is another
// than before, then every two seconds, or ten while it rests.
func (g *gauge) worker(now time.Time, pid int, sample func(pid int) (process.Usage, error)) {
	if pid == g.pid && (pid == 0 || now.Sub(g.at) < g.pause()-measureEvery/2) {
		return
	}
	last := *g
	g.pid, g.rests, g.load.Memory, g.load.CPU = 0, false, 0, 0
	if pid == 0 {
		return
	}
	u, err := sample(pid)
	if err != nil { // it has just ended, or this system does not tell
		return
	}
	g.pid, g.cpu, g.at, g.done = pid, u.CPU, now, g.load.Requests
	g.load.Memory = wholeMiB(u.Memory)
	if pid == last.pid {
		g.load.CPU = percent(u.CPU-last.cpu, now.Sub(last.at))
		g.rests = g.load.Memory == last.load.Memory && g.load.CPU == last.load.CPU
	}
}

// pause is how long the last usage stands. To ask the kernel for it is most of
// what an idle server does.
func (g *gauge) pause() time.Duration {
	if g.rests && g.load.InFlight == 0 && g.load.Requests == g.done {
		return restEvery
	}
	return usageEvery
}

// window is what a route had counted at moments of the last ten seconds,
// oldest first. If nothing ended in that time there is one, the last.
type window []moment

type moment struct {
	at        time.Time
	requests  uint64
	durations *proxy.Histogram // shared by moments between which nothing ended
}

// add notes a moment. Durations are asked for if they may have changed. Before
// the first moment nothing was counted.
func (w *window) add(now time.Time, requests uint64, durations func() *proxy.Histogram) {
	if len(*w) == 0 {
		*w = append(*w, moment{at: now, durations: new(proxy.Histogram)})
	}
	last := (*w)[len(*w)-1]
	m := moment{at: now, requests: requests, durations: last.durations}
	if requests != last.requests {
		m.durations = durations()
	}
	if requests == (*w)[0].requests {
		*w = (*w)[:0]
	} else {
		*w = slices.Delete(*w, 0, w.at(now.Add(-answersOver)))
	}
	*w = append(*w, m)
}

// at returns the place of the newest moment that is not after a time, or of
// the oldest.
func (w window) at(t time.Time) int {
	i := len(w) - 1
	for i > 0 && w[i].at.After(t) {
		i--
	}
	return max(0, i)
}

// rate is the requests a second of the last two.
func (w window) rate(now time.Time) float64 {
	first, last := w[w.at(now.Add(-rateOver))], w[len(w)-1]
	return roundRate(float64(last.requests-first.requests) / max(last.at.Sub(first.at), rateOver).Seconds())
}

// answers is how long those of the last ten seconds took, nil if there were
// none.
func (w window) answers(now time.Time) *proxy.Histogram {
	first, last := w[w.at(now.Add(-answersOver))], w[len(w)-1]
	if first.durations == last.durations {
		return nil
	}
	return last.durations.Sub(first.durations)
}

// roundRate keeps one decimal below a hundred and none above.
func roundRate(rate float64) float64 {
	if rounded := math.Round(rate*10) / 10; rounded < 100 {
		return rounded
	}
	return math.Round(rate)
}

// threeDigits rounds to three significant digits.
func threeDigits(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d.Round(unit) >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit)
}

const mebibyte = 1 << 20

func wholeMiB(bytes int64) int64 { return (bytes + mebibyte/2) / mebibyte * mebibyte }

// percent is what was used of one CPU.
func percent(used, elapsed time.Duration) int {
	if elapsed <= 0 || used <= 0 {
		return 0
	}
	return int(math.Round(100 * used.Seconds() / elapsed.Seconds()))
}
