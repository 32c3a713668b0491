package worker_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
)

func TestAPageListensOnItsSocketTooAndSaysSo(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	p := start(t, "TQ_SOCKET="+socket)
	if p.listens != "s" {
		t.Errorf("it said %q", p.listens)
	}
	atSocket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer atSocket.CloseIdleConnections()
	resp, err := atSocket.Get("http://page/from")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "127.0.0.1:0" || err != nil {
		t.Errorf("at the socket a request comes from %q, %v", body, err)
	}
	if got := p.get("/count"); got != "2 false\n" {
		t.Errorf("at the port it says %q", got)
	}
}

func TestASocketThatCannotBeIsDoneWithout(t *testing.T) {
	t.Parallel()
	p := start(t, "TQ_SOCKET="+filepath.Join(t.TempDir(), "no", "such", "folder"))
	if p.listens != "r" {
		t.Errorf("it said %q", p.listens)
	}
	if got := p.get("/count"); got != "1 false\n" {
		t.Errorf("at the port it says %q", got)
	}
}
