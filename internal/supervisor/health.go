package supervisor

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"tqserver/internal/state"
)

const (
	mebibyte = 1 << 20

	// memoryInterval is how often the memory of a worker is measured, if max_memory
	// limits it.
	memoryInterval = 500 * time.Millisecond
)

// checkHealth has the worker of a seat checked.
func (d *decision) checkHealth(i int) {
	w := &d.seats[i].serving
	if w.id == 0 {
		return
	}
	d.seats[i].healthAt = d.in(d.cfg.worker.HealthInterval)
	if !w.probing {
		w.probing = true
		d.do(probe{w.id, w.port})
	}
}

// apply handles the end of a health check.
func (e probed) apply(d *decision) {
	i := d.servingIn(e.worker)
	if i < 0 {
		return
	}
	s := &d.seats[i]
	w := &s.serving
	w.probing = false
	switch {
	case e.err == nil:
		w.failedChecks = 0
		return
	case isShortage(e.err): // that is not the worker's
		return
	}
	w.failedChecks = min(w.failedChecks+1, d.cfg.worker.HealthFailures)
	s.resetAt = d.in(resetAfter)
	if w.failedChecks < d.cfg.worker.HealthFailures || d.building.id != 0 || !d.settled(i) || d.now.time.Sub(w.ready) < d.pause(i, s.crashes+1) {
		return
	}
	s.crashes++
	d.publishEvent(state.LevelError, "the worker is unhealthy: starting a replacement", state.Int("pid", w.pid), state.Int("port", w.port), state.String("err", e.err.Error()))
	d.startSeat(i, w.version, lostHealth)
}

// checkMemory has the memory measured of the worker of a seat, if that is limited.
func (d *decision) checkMemory(i int) {
	s := &d.seats[i]
	w := &s.serving
	s.memoryAt = time.Time{}
	if w.id == 0 || d.cfg.worker.MaxMemory == 0 {
		return
	}
	s.memoryAt = d.in(memoryInterval)
	if !w.measuring {
		w.measuring = true
		d.do(measureMemory{w.id, w.pid})
	}
}

// apply has a worker replaced that takes more memory than it may. Should the
// limit be too low for the page, so that workers exceed it with and without
// requests, the pauses between replacements grow.
func (e memoryMeasured) apply(d *decision) {
	i := d.servingIn(e.worker)
	if i < 0 {
		return
	}
	s := &d.seats[i]
	w := &s.serving
	w.measuring = false
	if e.err != nil || !d.canReplace(i) || d.now.time.Sub(w.ready) < d.pause(i, s.overMemory) {
		return // or it has just ended, or this system does not measure memory
	}
	limit := d.cfg.worker.MaxMemory
	if limit == 0 || e.memory <= limit {
		if d.now.time.Sub(w.ready) >= resetAfter || d.now.requests > w.requests {
			s.overMemory = 0
		}
		return
	}
	s.overMemory++
	d.publishEvent(state.LevelWarn, "the worker uses more memory than max_memory: starting a replacement",
		state.Int("pid", w.pid), state.Int("mib", e.memory/mebibyte), state.Int("max_mib", limit/mebibyte))
	d.startSeat(i, w.version, maxMemory)
}

// prober checks the health of workers.
type prober struct{ client http.Client }

func newProber() *prober {
	return &prober{http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// probe asks for /health; anything but a 200 is an error.
func (p *prober) probe(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	url := "http://" + loopback(port) + "/health"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 4<<10)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /health returned status %d, not 200", resp.StatusCode)
	}
	return nil
}

const probeTimeout = 5 * time.Second

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
