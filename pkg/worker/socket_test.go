package worker

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"tqserver/internal/socket"
)

// connectedBySocket returns the server's and a worker's end of a connection over a
// Unix socket, swapped if asked.
func connectedBySocket(t *testing.T, swapped bool) (here, there stream) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server, err := socket.NewConn(dialled.(*net.UnixConn))
	if err != nil {
		t.Fatal(err)
	}
	worker, err := newSocketConn(accepted.(*net.UnixConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); worker.Close() })
	if swapped {
		return worker, server
	}
	return server, worker
}

// The worker's end has code of its own, so that pages link nothing of the server.
func TestTheEndsOfTheServerAndOfTheWorkerBehaveAlike(t *testing.T) {
	t.Parallel()
	for name, swapped := range map[string]bool{"server": false, "worker": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("carries all both ways at once", func(t *testing.T) { testCarriesAll(t, swapped) })
			t.Run("ends what waits at its deadline and when it is closed", func(t *testing.T) { testEndsWaits(t, swapped) })
			t.Run("says that the other end has gone", func(t *testing.T) { testOtherEndGone(t, swapped) })
		})
	}
}

func testCarriesAll(t *testing.T, swapped bool) {
	here, there := connectedBySocket(t, swapped)
	sent := bytes.Repeat([]byte("0123456789abcde"), 1<<17) // more than a socket holds
	var moving sync.WaitGroup
	for _, way := range []struct{ from, to stream }{{here, there}, {there, here}} {
		moving.Go(func() {
			for half := range 2 { // each waits for buffer space
				p := sent[half*len(sent)/2 : (half+1)*len(sent)/2]
				if n, err := way.from.Write(p); n != len(p) || err != nil {
					t.Errorf("%d bytes were written, %v", n, err)
				}
			}
			if err := way.from.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		moving.Go(func() {
			if got, err := io.ReadAll(way.to); !bytes.Equal(got, sent) || err != nil {
				t.Errorf("%d bytes of %d came, %v", len(got), len(sent), err)
			}
		})
	}
	moving.Wait()
}

func testEndsWaits(t *testing.T, swapped bool) {
	for op, wait := range map[string]func(c stream) error{
		"read": func(c stream) error {
			_, err := c.Read(make([]byte, 1))
			return err
		},
		"write": func(c stream) error {
			_, err := c.Write(make([]byte, 8<<20))
			return err
		},
	} {
		c, _ := connectedBySocket(t, swapped)
		set := map[string]func(time.Time) error{"read": c.SetReadDeadline, "write": c.SetWriteDeadline}[op]
		set(time.Now().Add(20 * time.Millisecond))
		failed, ok := errors.AsType[*net.OpError](wait(c))
		if !ok || !errors.Is(failed, os.ErrDeadlineExceeded) || failed.Op != op || !failed.Timeout() {
			t.Errorf("%s: %v at its deadline", op, failed)
		}
		set(time.Time{})
		time.AfterFunc(20*time.Millisecond, func() { c.Close() })
		if err := wait(c); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v when it was closed", op, err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a second close: %v", err)
		}
	}
}

func testOtherEndGone(t *testing.T, swapped bool) {
	here, there := connectedBySocket(t, swapped)
	there.Close()
	if n, err := here.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("a read: %d, %v", n, err)
	}
	if _, err := here.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a write: %v", err)
	}
}
