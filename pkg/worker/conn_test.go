package worker_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAPageListensOnItsSocketTooAndSaysSo(t *testing.T) {
	t.Parallel()
	p := start(t, "TQ_SOCKET="+filepath.Join(t.TempDir(), "s"))
	if p.listens != "s" {
		t.Errorf("it said %q", p.listens)
	}
	if got := p.atSocket().get("/from"); got != "127.0.0.1:0" {
		t.Errorf("at the socket a request comes from %q", got)
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

// atSocket returns the page with a client of its socket.
func (p *page) atSocket() *page {
	socket := ""
	for _, entry := range p.cmd.Env {
		if value, ok := strings.CutPrefix(entry, "TQ_SOCKET="); ok {
			socket = value
		}
	}
	at := &page{T: p.T, port: p.port}
	at.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	p.Cleanup(at.client.CloseIdleConnections)
	return at
}

// everywhere runs a test at the port and at the socket of a page with timeouts of a
// second.
func everywhere(t *testing.T, f func(t *testing.T, p *page)) {
	for _, at := range []string{"port", "socket"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			p := start(t, "TQ_READ_TIMEOUT_SECONDS=1", "TQ_WRITE_TIMEOUT_SECONDS=1", "TQ_SOCKET="+filepath.Join(t.TempDir(), "s"))
			if at == "socket" {
				p = p.atSocket()
			}
			f(t, p)
		})
	}
}

// slowly is a body that takes twice the timeout, but never pauses for as long.
type slowly struct{ left int }

func (s *slowly) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	<-time.After(200 * time.Millisecond)
	s.left--
	return copy(p, "x"), nil
}

const ticks = 10

func TestABodyThatMovesIsNotCutOff(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *page) {
		t.Run("of a request", func(t *testing.T) {
			t.Parallel()
			if got := p.begin("/read", &slowly{ticks}).rest(); got != "read 10 <nil>\n" {
				t.Errorf("it says %q", got)
			}
		})
		t.Run("of a response", func(t *testing.T) {
			t.Parallel()
			if got := p.get("/drip"); got != strings.Repeat("x", ticks) {
				t.Errorf("it says %q", got)
			}
		})
		t.Run("of a response while the client is silent", func(t *testing.T) {
			t.Parallel()
			body, upload := io.Pipe()
			resp := p.begin("/drip?reads", body)
			dripped := make([]byte, ticks)
			if _, err := io.ReadFull(resp.Body, dripped); err != nil {
				t.Error(err)
			}
			upload.Close()
			if got := resp.rest(); got != "read 0 <nil>\n" {
				t.Errorf("it says %q", got)
			}
		})
		t.Run("of a response that waits for its reader", func(t *testing.T) {
			t.Parallel()
			resp := p.begin("/much", nil)
			<-time.After(1500 * time.Millisecond)
			if got := resp.rest(); len(got) != 16<<20 {
				t.Errorf("%d bytes came", len(got))
			}
		})
	})
}

func TestABodyThatStopsComingIsCutOffAtThePort(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *page) {
		body, upload := io.Pipe()
		defer upload.Close()
		resp := p.begin("/body", body).awaitBegun() // ends with the read of the body
		atPort := p.cmd != nil
		if !atPort { // the server has its own timeout there
			<-time.After(1500 * time.Millisecond)
			upload.Close()
		}
		if got := resp.rest(); got != "finished false\n" {
			t.Errorf("it says %q", got)
		}
	})
}
