package worker

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTheCountStaysAtItsLargest(t *testing.T) {
	t.Parallel()
	r := &Runtime{MaxRequests: math.MaxInt32}
	r.requestCount.Store(math.MaxInt32 - 1)
	for range 3 {
		r.count()
	}
	if r.GetRequestCount() != math.MaxInt32 || !r.ShouldShutdown() {
		t.Errorf("count is %d", r.GetRequestCount())
	}
}

func TestAnIdleTimeoutOfZeroIsNone(t *testing.T) {
	t.Parallel()
	s := newService(&Runtime{ReadTimeout: 1}, nil)
	defer s.close()
	if s.http.IdleTimeout > 0 || s.http.ReadTimeout > 0 { // they would apply where the first is 0
		t.Errorf("idle timeout is %v, read timeout %v", s.http.IdleTimeout, s.http.ReadTimeout)
	}
}

// A write goes on while the client accepts something in time.
func TestAWriteIsInterruptedOnlyWhenNothingIsTaken(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, write := range map[string]func(c portConn) (int64, error){
		"bytes": func(c portConn) (int64, error) {
			n, err := c.Write(content)
			return int64(n), err
		},
		"a file": func(c portConn) (int64, error) {
			file, err := os.Open(name)
			if err != nil {
				return 0, err
			}
			defer file.Close()
			return c.ReadFrom(io.LimitReader(file, int64(len(content))))
		},
		"another reader": func(c portConn) (int64, error) { return c.ReadFrom(bytes.NewBuffer(content)) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			here, there := connectedTCP(t)
			here.SetWriteBuffer(64 << 10)
			there.SetReadBuffer(64 << 10)
			extended := make(chan struct{}, 1<<10)
			c := portConn{newConn(here, here.LocalAddr(), here.RemoteAddr(), &Runtime{WriteTimeout: 1})}
			c.out.timeout = time.Second
			c.out.set = func(at time.Time) error {
				extended <- struct{}{}
				return here.SetWriteDeadline(at)
			}
			const taken = 3 << 19 // more than the kernel's buffers hold
			read := make(chan []byte)
			go func() { // ends with here
				var got bytes.Buffer
				for got.Len() < taken {
					<-extended
					if _, err := io.CopyN(&got, there, 1<<20); err != nil {
						break
					}
				}
				for range extended { // nothing more is read
				}
				io.Copy(&got, there)
				read <- got.Bytes()
			}()
			n, err := write(c)
			if n < taken || n == int64(len(content)) || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d of %d bytes were written, and then %v", n, len(content), err)
			}
			here.Close()
			close(extended)
			if got := <-read; !bytes.Equal(got, content[:n]) {
				t.Errorf("of %d bytes that were written %d came, or others", n, len(got))
			}
		})
	}
}

func connectedTCP(t *testing.T) (here, there *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}
