package socket

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// This test lowers a limit of the whole process, so it is not parallel.
func TestAConnectionThatCannotBeReplacedStaysAsItWas(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range ends {
		f := os.NewFile(uintptr(fd), "")
		if conns[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		defer conns[i].Close()
		conns[i].SetDeadline(time.Now().Add(10 * time.Second))
	}
	next, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(next)
	for free := range uint64(3) { // of the descriptors that NewConn needs
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(next) + free, Max: limit.Max}); err != nil {
			t.Fatal(err)
		}
		_, failure := NewConn(conns[0].(*net.UnixConn))
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if failure == nil {
			t.Fatalf("with %d descriptors it was taken over", free)
		}
		again, err := syscall.Dup(0)
		if err != nil || again != next {
			t.Errorf("after %v the next descriptor is %d, not %d, %v", failure, again, next, err)
		}
		syscall.Close(again)
		io.WriteString(conns[0], "hello")
		b := make([]byte, 5)
		if _, err := io.ReadFull(conns[1], b); string(b) != "hello" {
			t.Errorf("after %v: %q, %v", failure, b, err)
		}
	}
}
