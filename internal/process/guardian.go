package process

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// guardianName is the name of the guardian's process. It differs from the server's,
// so that pkill with the server's name does not kill the guardian.
const guardianName = "tq-guardian"

// RunGuardian reports whether this process was started as a guardian. If so, the
// server has ended, the guardian has done its work, and main should return. Call it
// first in main.
func RunGuardian() bool {
	if os.Args[0] != guardianName {
		return false
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	w := readGuarded(os.Stdin)
	for pgid := range w.groups {
		syscall.Kill(-pgid, syscall.SIGKILL)
	}
	restoreTerminal(w.terminal, w.crashOutput)
	return true
}

// guarded is what a guardian takes care of.
type guarded struct {
	groups      map[int]bool // process groups
	terminal    string       // its state and path, or empty
	crashOutput []string     // written by the runtime when the server crashed
}

// readGuarded reads "+PGID", "-PGID" and "terminal …" lines until r ends. Other
// lines are the output of a crash.
func readGuarded(r io.Reader) guarded {
	w := guarded{groups: make(map[int]bool)}
	for in := bufio.NewScanner(r); in.Scan(); {
		line := in.Text()
		if terminal, ok := strings.CutPrefix(line, "terminal "); ok {
			w.terminal = terminal
			continue
		}
		sign := line[:min(1, len(line))]
		pgid, err := strconv.Atoi(line[len(sign):])
		switch {
		case err == nil && pgid > 1 && sign == "+":
			w.groups[pgid] = true
		case err == nil && pgid > 1 && sign == "-":
			delete(w.groups, pgid)
		default:
			w.crashOutput = append(w.crashOutput, line)
		}
	}
	return w
}

// guardian is the server's side of the guardian process, which is started again if
// it dies.
type guardian struct {
	start   func(func())   // runs a function on the thread that forks
	done    chan struct{}  // closed by close
	running sync.WaitGroup // of respawn

	mu       sync.Mutex // guards all below
	groups   map[int]bool
	terminal string // its state and path, or empty
	proc     *os.Process
	in       *os.File
	closed   bool
}

func startGuardian(onThread func(func())) (*guardian, error) {
	g := &guardian{start: onThread, done: make(chan struct{}), groups: make(map[int]bool)}
	if err := g.spawn(); err != nil {
		return nil, fmt.Errorf("start the guardian of the workers: %w", err)
	}
	g.running.Go(g.respawn) // ends after close
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
	close(g.done)
	if g.terminal != "" {
		g.terminal = ""
		g.sendTerminalLocked()
	}
	g.in.Close()
	g.mu.Unlock()
	g.running.Wait()
}

// maxRespawnPause is the longest pause before the guardian is started again.
const maxRespawnPause = 30 * time.Second

// respawn reaps the guardian and starts another, until close.
func (g *guardian) respawn() {
	for pause := time.Millisecond; ; pause = min(2*pause, maxRespawnPause) {
		began := time.Now()
		g.process().Wait()
		if time.Since(began) > maxRespawnPause {
			pause = time.Millisecond
		}
		select {
		case <-time.After(pause):
			g.spawn() // an error is tried again after the next pause
		case <-g.done:
			return
		}
	}
}

func (g *guardian) process() *os.Process {
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
	if g.terminal != "" {
		g.sendTerminalLocked()
	}
	return nil
}
