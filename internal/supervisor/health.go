package supervisor

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

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
		return fmt.Errorf("GET /health answered %d, not 200", resp.StatusCode)
	}
	return nil
}

const probeTimeout = 5 * time.Second

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
