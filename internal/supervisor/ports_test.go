package supervisor

import (
	"context"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
)

func TestPortsAreGivenOutLeastRecentlyUsedFirst(t *testing.T) {
	first := freePorts(t, 4)
	p := newPorts(first, first+3)
	a, _ := p.acquire()
	b, _ := p.acquire()
	p.release(a)
	c, _ := p.acquire()
	d, _ := p.acquire()
	e, _ := p.acquire()
	if got := []int{a, b, c, d, e}; !slices.Equal(got, []int{first, first + 1, first + 2, first + 3, first}) {
		t.Errorf("got %v", got)
	}
	none, freed := p.acquire()
	if none != 0 {
		t.Fatalf("got %d of none", none)
	}
	p.release(b)
	<-freed
}

func TestAPortOfAnotherProgramIsSkipped(t *testing.T) {
	first := freePorts(t, 2)
	for _, addr := range []string{"127.0.0.1", "0.0.0.0", "::"} {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(addr), Port: first})
		if err != nil {
			t.Fatal(err)
		}
		p := newPorts(first, first+1)
		if got, _ := p.acquire(); got != first+1 {
			t.Errorf("with a program on %s got %d", addr, got)
		}
		l.Close()
	}
}

func TestAPortOutsideTheRangeDoesNotComeBack(t *testing.T) {
	first := freePorts(t, 3)
	p := newPorts(first, first)
	a, _ := p.acquire()
	p.setRange(first+1, first+2)
	p.release(a)
	b, _ := p.acquire()
	c, _ := p.acquire()
	d, _ := p.acquire()
	if got := []int{b, c, d}; !slices.Equal(got, []int{first + 1, first + 2, 0}) {
		t.Errorf("got %v", got)
	}
}

// freePorts finds n ports in a row that nothing listens on.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for first := 21000; first < 32000; first += n {
		if !anyTaken(first, n) {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

func anyTaken(first, n int) bool {
	for port := first; port < first+n; port++ {
		if portTaken(port) {
			return true
		}
	}
	return false
}

func TestTheOwnerOfAPortIsKnown(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if !ownsPort(os.Getpid(), port) {
		t.Error("we do not own what we listen on")
	}
	if ownsPort(1, port) {
		t.Error("process 1 owns it")
	}
}

func TestAPortHeldOnAnotherAddressIsSkipped(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.2:0")
	if err != nil {
		t.Skip("this machine has no second address")
	}
	defer l.Close()
	if port := l.Addr().(*net.TCPAddr).Port; !portTaken(port) {
		t.Errorf("port %d, on which a worker cannot listen everywhere, is given out", port)
	}
}

// A child has its parent's sockets until it executes its program.
func TestAProcessThatStartsMeanwhileDoesNotHoldAPort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	exec.Command("/bin/true").Run() // the first one forks before it, to see what the kernel can
	ctx, stop := context.WithCancel(t.Context())
	var forking sync.WaitGroup
	for range 2 {
		forking.Go(func() { // ends with ctx
			for ctx.Err() == nil {
				exec.Command("/bin/true").Run()
			}
		})
	}
	defer forking.Wait()
	defer stop()
	for looks := range 3000 {
		if portTaken(port) {
			t.Fatalf("a free port is taken at look %d", looks)
		}
	}
}
