package socket

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// connectedTCP returns the ends of a TCP connection.
func connectedTCP(t *testing.T) (here, there *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
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

// withSocket calls f with the socket until f reports that it is done.
func withSocket(t *testing.T, c *net.TCPConn, f func(fd uintptr) (done bool)) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if err := raw.Read(f); err != nil {
		t.Fatal(err)
	}
}

func TestReadSaysWhenThereIsNothingAndWhenNothingWillCome(t *testing.T) {
	t.Parallel()
	here, there := connectedTCP(t)
	p := make([]byte, 8)
	withSocket(t, here, func(fd uintptr) bool {
		if n, err := Read(fd, p); n != 0 || err != syscall.EAGAIN {
			t.Errorf("of nothing: %d, %v", n, err)
		}
		if !IsIdle(fd) {
			t.Error("nothing came, and it is not quiet")
		}
		return true
	})
	there.Write([]byte("hello"))
	withSocket(t, here, func(fd uintptr) bool {
		if IsIdle(fd) {
			return false
		}
		if n, err := Read(fd, p); string(p[:n]) != "hello" || err != nil {
			t.Errorf("%q, %v", p[:n], err)
		}
		return true
	})
	there.Close()
	withSocket(t, here, func(fd uintptr) bool {
		n, err := Read(fd, p)
		if err == syscall.EAGAIN {
			return false
		}
		if n != 0 || err != io.EOF || IsIdle(fd) || !Disconnected(fd) {
			t.Errorf("at the end: %d, %v, quiet %v, hung up %v", n, err, IsIdle(fd), Disconnected(fd))
		}
		return true
	})
}

func TestWriteWritesWhatTheKernelTakes(t *testing.T) {
	t.Parallel()
	here, there := connectedTCP(t)
	LimitUnsent(here)
	p := make([]byte, 32<<20)
	taken := 0
	withSocket(t, here, func(fd uintptr) bool {
		n, err := Write(fd, p)
		if taken = n; n <= 0 || n >= len(p) || err != syscall.EAGAIN {
			t.Errorf("%d of %d, %v", n, len(p), err)
		}
		if Disconnected(fd) {
			t.Error("the other end is there")
		}
		return true
	})
	here.CloseWrite()
	if n, err := io.Copy(io.Discard, there); int(n) != taken || err != nil {
		t.Errorf("%d came of %d, %v", n, taken, err)
	}
	there.SetLinger(0)
	there.Close() // with a reset
	withSocket(t, here, func(fd uintptr) bool {
		n, err := Write(fd, p[:1])
		if n != 0 || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("to nobody: %d, %v", n, err)
		}
		return true
	})
}

func TestAckedIsWhatTheOtherEndHasAcknowledged(t *testing.T) {
	t.Parallel()
	here, there := connectedTCP(t)
	taken := func() (bytes uint64, more bool) {
		withSocket(t, here, func(fd uintptr) bool {
			var ok bool
			if bytes, more, ok = Acked(fd); !ok {
				t.Skip("this kernel does not say")
			}
			return true
		})
		return bytes, more
	}
	await := func(bytes uint64, more bool) {
		t.Helper()
		for range 1000 {
			if b, m := taken(); b == bytes && m == more {
				return
			}
			<-time.After(time.Millisecond)
		}
		b, m := taken()
		t.Errorf("%d bytes are taken, more is %v; want %d, %v", b, m, bytes, more)
	}
	begin, _ := taken() // the first byte may count too
	here.Write(make([]byte, 1000))
	await(begin+1000, false) // by the other kernel, although nobody reads
	sent, more := 0, false
	for tries := 0; !more && tries < 100; tries++ { // until the other end accepts no more
		here.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := here.Write(make([]byte, 64<<20))
		if err == nil {
			t.Fatal("64 MiB were taken, and nobody reads")
		}
		sent += n
		_, more = taken()
	}
	if !more {
		t.Error("there is nothing to take, and nobody has read")
	}
	there.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.CopyN(io.Discard, there, int64(1000+sent)); err != nil {
		t.Fatal(err)
	}
	await(begin+uint64(1000+sent), false)
}
