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

// checkHealth asks the serving worker how it is.
func (p *page) checkHealth() {
	w := p.serving
	if w == nil || p.closing {
		return
	}
	p.healthTimer.Reset(p.cfg.worker.HealthInterval)
	if p.probing {
		return
	}
	p.probing = true
	ctx, cancel := context.WithCancel(p.backgroundCtx)
	p.background(func() func() {
		answered := make(chan error, 1)
		go func() { answered <- p.probe(ctx, w.port) }() // ends with ctx
		select {
		case err := <-answered:
			cancel()
			return func() { p.healthChecked(w, err) }
		case <-w.Done():
			cancel()
			<-answered
			return func() { p.probing = false }
		}
	})
}

// healthChecked is the end of a health check.
func (p *page) healthChecked(w *worker, err error) {
	p.probing = false
	if p.serving != w {
		return
	}
	switch {
	case isShortage(err): // that is not the worker's
		return
	case err == nil:
		if w.failedChecks > 0 {
			w.failedChecks = 0
			p.publish()
		}
		return
	}
	w.failedChecks++
	p.healthyTimer.Reset(resetAfter)
	if w.failedChecks < p.cfg.worker.HealthFailures {
		p.publish()
		return
	}
	if p.starting == nil && p.waitingForPort == nil && p.building == nil && p.nextStart.IsZero() && time.Since(w.readyAt) >= pauseBefore(p.crashes+1) {
		p.crashes++
		p.publishEvent(state.LevelError, "the worker is unhealthy: starting a replacement", state.Int("pid", w.pid), state.Int("port", w.port), state.String("err", err.Error()))
		p.replace(lostHealth, w.version)
	}
}

// prober asks workers how they are.
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
