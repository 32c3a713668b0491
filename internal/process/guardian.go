package process

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// guardianName is what the guardian is started as. It is not the server's
// name, so that pkill with that name leaves the guardian to do its work.
const guardianName = "tq-guardian"

// Guard reports whether this process was started as a guardian. If so it has
// done its work, which is to outlive the server by a moment, and has nothing
// more to do. Call it first in main.
func Guard() bool {
	if os.Args[0] != guardianName {
		return false
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	for pgid := range guarded(os.Stdin) {
		syscall.Kill(-pgid, syscall.SIGKILL)
	}
	return true
}

// guarded reads "+PGID" and "-PGID" lines to their end and returns what is
// left.
func guarded(r io.Reader) map[int]bool {
	groups := make(map[int]bool)
	for in := bufio.NewScanner(r); in.Scan(); {
		change := in.Text()
		if len(change) < 2 {
			continue
		}
		pgid, err := strconv.Atoi(change[1:])
		if err != nil || pgid <= 1 {
			continue
		}
		if change[0] == '+' {
			groups[pgid] = true
		} else {
			delete(groups, pgid)
		}
	}
	return groups
}

// guardian is the server's end of the guardian process. One that dies is
// started again.
type guardian struct {
	start func(func()) // runs a function on the thread that forks
	ended sync.WaitGroup

	mu     sync.Mutex // guards all below
	groups map[int]bool
	proc   *os.Process
	in     *os.File
	closed bool
}

func startGuardian(onThread func(func())) (*guardian, error) {
	g := &guardian{start: onThread, groups: make(map[int]bool)}
	if err := g.spawn(); err != nil {
		return nil, fmt.Errorf("start the guardian of the workers: %w", err)
	}
	g.ended.Go(g.keep) // ends after close
	return g, nil
}

func (g *guardian) add(pgid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups[pgid] = true
	fmt.Fprintf(g.in, "+%d\n", pgid)
}

func (g *guardian) remove(pgid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.groups, pgid)
	fmt.Fprintf(g.in, "-%d\n", pgid)
}

func (g *guardian) close() {
	g.mu.Lock()
	g.closed = true
	g.in.Close()
	g.mu.Unlock()
	g.ended.Wait()
}

// keep reaps the guardian and starts another until close.
func (g *guardian) keep() {
	for pause := time.Millisecond; ; {
		g.current().Wait()
		<-time.After(pause) // one that cannot live is no reason to spin
		g.mu.Lock()
		closed := g.closed
		g.mu.Unlock()
		if closed {
			return
		}
		pause = min(2*pause, time.Second)
		if g.spawn() == nil {
			pause = time.Millisecond
		}
	}
}

func (g *guardian) current() *os.Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.proc
}

func (g *guardian) spawn() error {
	self, err := selfPath()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		w.Close()
		return err
	}
	defer null.Close()
	var proc *os.Process
	g.start(func() {
		proc, err = os.StartProcess(self, []string{guardianName, strconv.Itoa(os.Getpid())}, &os.ProcAttr{
			Dir:   "/",
			Files: []*os.File{r, null, null},
			Sys:   &syscall.SysProcAttr{Setsid: true},
		})
	})
	if err != nil {
		w.Close()
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in != nil {
		g.in.Close()
	}
	g.proc, g.in = proc, w
	if g.closed {
		w.Close()
		return nil
	}
	for pgid := range g.groups {
		fmt.Fprintf(w, "+%d\n", pgid)
	}
	return nil
}
