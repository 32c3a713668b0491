package supervisor

import (
	"context"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"tqserver/internal/state"
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

func TestAPortThatIsTakenCostsNoPenalty(t *testing.T) {
	withPage(t, func(s *harness) { s.takenPorts[9000], s.takenPorts[9001] = true, true }, func(s *harness) {
		s.after(time.Second)
		if port := s.wantServing("v1").port(); port != 9002 {
			t.Errorf("it listens on %d", port)
		}
		if n := s.crashes(); n != 0 {
			t.Errorf("%d crashes", n)
		}
	})
}

func TestAPageWaitsForAPort(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		var taken []int
		for range 4 {
			port, _ := s.page.ports.acquire()
			taken = append(taken, port)
		}
		s.after(5 * time.Second)
		s.wantPhase(state.Waiting)
		if n := s.countMessages("waiting for a port"); n != 1 {
			t.Errorf("that was said %d times", n)
		}
		for _, port := range taken {
			s.page.ports.release(port)
		}
		s.after(6 * time.Millisecond)
		s.wantServing("v1")
	})
}

func TestASwapWithoutASparePortStopsTheOldWorkerFirst(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		var taken []int
		for range 3 {
			port, _ := s.page.ports.acquire()
			taken = append(taken, port)
		}
		defer func() {
			for _, port := range taken {
				s.page.ports.release(port)
			}
		}()
		old := s.wantServing("v1")
		s.save("v2")
		s.after(time.Second)
		if s.wantServing("v2").port() != old.port() {
			t.Error("it got another port")
		}
		s.after(probationTime) // or v1 would come back
		s.set(func() { s.dies, s.ready = time.Millisecond, -1 })
		s.save("v3")
		s.after(100 * time.Millisecond)
		s.set(func() {})
		s.after(120 * time.Millisecond)
		s.set(func() { s.dies, s.ready = -1, time.Millisecond })
		s.after(10 * time.Second)
		s.wantServing("v2") // v3 did not start, and had its port from it
		s.wantPhase(state.Failed)
	})
}

func TestAWorkerOutsideTheRangeServesUntilThereIsAPort(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		old := s.wantServing("v1")
		narrow := []int{9100, 9101}
		var taken []int
		s.page.ports.setRange(narrow[0], narrow[1])
		for range narrow {
			port, _ := s.page.ports.acquire()
			taken = append(taken, port)
		}
		s.page.call(func() { s.page.configure(s.page.page.cfg, false, func(bool) {}) })
		s.after(time.Minute)
		if s.wantServing("v1") != old || old.stopCount() > 0 {
			t.Error("it gave up a port that is of no use to it")
		}
		s.wantMessage("waiting for a port")
		for _, port := range taken {
			s.page.ports.release(port)
		}
		s.after(time.Second)
		if port := s.wantServing("v1").port(); port < narrow[0] || port > narrow[1] {
			t.Errorf("it serves on %d", port)
		}
	})
}

func TestAPageWhosePortLeavesTheRangeWhileItIsGivenUpGetsAnother(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		for range 3 {
			port, _ := s.page.ports.acquire()
			defer s.page.ports.release(port)
		}
		old := s.wantServing("v1")
		s.set(func() { old.ignoresTERM = true })
		s.save("v2")
		s.after(300 * time.Millisecond)
		s.page.ports.setRange(9100, 9101)
		s.after(time.Minute)
		if port := s.wantServing("v2").port(); port != 9100 {
			t.Errorf("it serves on %d", port)
		}
	})
}

func TestTheVersionThatGaveItsPortReturnsAfterTwoSaves(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		for range 3 {
			port, _ := s.page.ports.acquire()
			defer s.page.ports.release(port)
		}
		s.wantServing("v1")
		s.set(func() { s.ready = time.Second })
		s.save("v2")
		s.after(300 * time.Millisecond)
		s.wantPhase(state.Starting)
		s.set(func() { s.dies, s.ready = 5*time.Millisecond, -1 })
		s.save("v3")
		s.after(300 * time.Millisecond)
		s.set(func() { s.dies, s.ready = -1, time.Millisecond })
		s.after(2 * time.Second)
		s.wantServing("v1")
	})
}

func TestAPortThatComesBackIsWaitedFor(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		for range 2 {
			port, _ := s.page.ports.acquire()
			defer s.page.ports.release(port)
		}
		old := s.wantServing("v1")
		s.set(func() { s.ready = time.Second; s.ignoresTERM = true })
		s.save("v2")
		s.after(300 * time.Millisecond)
		s.set(func() { s.ready = 100 * time.Millisecond })
		s.save("v3")
		s.after(250 * time.Millisecond)
		if s.wantServing("v1") != old {
			t.Error("another worker serves")
		}
		s.after(time.Second)
		s.wantServing("v3")
	})
}
