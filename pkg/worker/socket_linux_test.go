//go:build !386 && !s390x && !race

package worker

import (
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// It lowers the limit of the whole process, so it does not run beside others.
func TestAConnectionStaysAsItWasWhenDescriptorsRunOut(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	next, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(next)
	for free := range 3 { // of the descriptors that newSocketConn needs
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(next + free), Max: limit.Max}); err != nil {
			t.Fatal(err)
		}
		_, failed := newSocketConn(c.(*net.UnixConn))
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if failed == nil {
			t.Fatalf("%d descriptors were enough", free)
		}
		again, err := syscall.Dup(0)
		if err != nil || again != next {
			t.Errorf("after %v the next descriptor is %d, not %d, %v", failed, again, next, err)
		}
		syscall.Close(again)
		io.WriteString(client, "hello")
		b := make([]byte, len("hello"))
		if _, err := io.ReadFull(c, b); string(b) != "hello" {
			t.Errorf("after %v: %q, %v", failed, b, err)
		}
	}
}
