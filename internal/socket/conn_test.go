package socket

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
)

// connectedUnix returns two ends of a connection over a Unix socket.
func connectedUnix(t *testing.T) (here, there *Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i, dial := range []func() (net.Conn, error){func() (net.Conn, error) { return net.Dial("unix", l.Addr().String()) }, l.Accept} {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		end, err := NewConn(c.(*net.UnixConn))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { end.Close() })
		*[]**Conn{&here, &there}[i] = end
	}
	return here, there
}

func TestAConnectionCarriesAllBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	here, there := connectedUnix(t)
	sent := bytes.Repeat([]byte("0123456789abcde"), 1<<17) // more than a socket holds
	var moving sync.WaitGroup
	for _, way := range []struct{ from, to *Conn }{{here, there}, {there, here}} {
		moving.Go(func() {
			if n, err := way.from.Write(sent); n != len(sent) || err != nil {
				t.Errorf("%d bytes were written, %v", n, err)
			}
			way.from.CloseWrite()
		})
		moving.Go(func() {
			if got, err := io.ReadAll(way.to); !bytes.Equal(got, sent) || err != nil {
				t.Errorf("%d bytes of %d came, %v", len(got), len(sent), err)
			}
		})
	}
	moving.Wait()
}

func TestWhatWaitsOnAConnectionCanBeEnded(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(c net.Conn) error{
		"read": func(c net.Conn) error {
			_, err := c.Read(make([]byte, 1))
			return err
		},
		"write": func(c net.Conn) error {
			_, err := c.Write(make([]byte, 8<<20))
			return err
		},
	} {
		c, _ := connectedUnix(t)
		c.SetDeadline(time.Now().Add(20 * time.Millisecond))
		var op *net.OpError
		if err := wait(c); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &op) || op.Op != name || !op.Timeout() {
			t.Errorf("%s: %v at its deadline", name, err)
		}
		c.SetDeadline(time.Time{})
		time.AfterFunc(20*time.Millisecond, func() { c.Close() })
		if err := wait(c); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v when it was closed", name, err)
		}
	}
}

func TestAConnectionWhoseOtherEndHasGoneSaysSo(t *testing.T) {
	t.Parallel()
	c, there := connectedUnix(t)
	there.Close()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("a read: %d, %v", n, err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a write: %v", err)
	}
}

func TestAwaitIsCalledWheneverSomethingCame(t *testing.T) {
	t.Parallel()
	here, there := connectedUnix(t)
	var got []byte
	calls := 0
	go func() {
		for _, piece := range []string{"a", "b", "c"} {
			there.Write([]byte(piece))
			<-time.After(10 * time.Millisecond)
		}
	}()
	err := here.Await(func(fd uintptr) bool {
		calls++
		p := make([]byte, 8)
		n, err := Read(fd, p)
		if err != nil && err != syscall.EAGAIN {
			t.Error(err)
			return true
		}
		got = append(got, p[:n]...)
		return len(got) == 3
	})
	if err != nil || string(got) != "abc" || calls > 8 {
		t.Errorf("%q in %d calls, %v", got, calls, err)
	}
}

// Only writers that wait for space are woken for it.
func TestWritersTakeTurns(t *testing.T) {
	t.Parallel()
	here, there := connectedUnix(t)
	const pieces, long = 40, 300 << 10 // more than a socket holds
	var writing sync.WaitGroup
	for range 4 {
		writing.Go(func() {
			for range pieces / 4 {
				if n, err := here.Write(make([]byte, long)); n != long || err != nil {
					t.Errorf("%d bytes were written, %v", n, err)
				}
			}
		})
	}
	there.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := io.CopyN(io.Discard, there, pieces*long); err != nil {
		t.Errorf("%d bytes came, %v", n, err)
	}
	writing.Wait()
}

func TestUnreadIsWhatTheOtherEndHasNotRead(t *testing.T) {
	t.Parallel()
	here, there := connectedUnix(t)
	unread := func() (n int) {
		here.Control(func(fd uintptr) {
			var ok bool
			if n, ok = Unread(fd); !ok {
				t.Skip("this kernel does not say")
			}
		})
		return n
	}
	if n := unread(); n != 0 {
		t.Errorf("of nothing %d bytes are not read", n)
	}
	here.Write(make([]byte, 1000))
	here.Write(make([]byte, 1000))
	both := unread()
	io.ReadFull(there, make([]byte, 1000))
	if one := unread(); both < 2000 || one < 1000 || one >= both {
		t.Errorf("%d bytes, and then %d", both, one)
	}
	io.ReadFull(there, make([]byte, 1000))
	if n := unread(); n != 0 {
		t.Errorf("of what was read %d bytes are not", n)
	}
}
