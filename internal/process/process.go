package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// linger is how long output is read after a process has ended. A child of its own
// that left the process group may hold the pipe open for ever
// (golang.org/issue/23019).
const linger = 200 * time.Millisecond

// Spec says what to start.
type Spec struct {
	Path string // of the binary
	Args []string
	Dir  string
	Env  []string

	// Output receives the output of the process: whole lines that end in a
	// newline, and lines longer than 64 KiB in pieces of that size. Each of the
	// two streams calls it from its own goroutine, in order, and is not read
	// meanwhile. The bytes are valid until it returns.
	Output func(pid int, stderr bool, lines []byte)

	// Partial receives the beginning of a line, without a newline, if the process
	// pauses before the line ends. Output receives the whole line when it does.
	// Partial may be nil.
	Partial func(pid int, stderr bool, line []byte)
}

// Process is a child, the leader of its own process group.
type Process struct {
	PID int

	ready    chan struct{}
	onSocket bool // complete once ready is closed
	done     chan struct{}
	exit     Exit // complete once done is closed

	mu     sync.Mutex // guards exited, so that no signal reaches a group that reuses the number
	exited bool
}

// Exit is how a process ended.
type Exit struct {
	Status    string // such as "exit status 1"
	PortTaken bool   // it reported that another program uses its port
}

// Start starts a process. Done is closed when it has ended.
func (p *Parent) Start(spec Spec) (*Process, error) {
	ours, theirs, err := makePipes()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	defer closeAll(theirs)
	null, err := os.Open(os.DevNull)
	if err != nil {
		closeAll(ours)
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	defer null.Close()
	pidfd := -1
	attr := &os.ProcAttr{
		Dir:   spec.Dir,
		Env:   append(spec.Env, "TQ_READY_FD=3", "TQ_ALIVE_FD=4"),
		Files: []*os.File{null, theirs[0], theirs[1], theirs[2], p.alive},
		Sys:   childAttr(&pidfd),
	}
	child, err := p.startFresh(spec.Path, append([]string{spec.Path}, spec.Args...), attr)
	if err != nil {
		closeAll(ours)
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	proc := &Process{PID: child.Pid, ready: make(chan struct{}), done: make(chan struct{})}
	p.guardian.add(child.Pid)
	go func() { // ends with the process
		defer close(proc.done)
		defer closeAll(ours)
		stopReading := proc.read(spec, ours[0], ours[1], ours[2])
		state := awaitExit(child, pidfd)
		proc.killGroup()
		p.guardian.remove(child.Pid)
		if state == nil {
			state, _ = child.Wait()
		}
		if state != nil {
			proc.exit.Status = state.String()
		}
		stopReading()
	}()
	return proc, nil
}

// makePipes returns the ends of three pipes, from a process to the server: stdout,
// stderr and readiness.
func makePipes() (ours, theirs []*os.File, err error) {
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours)
			closeAll(theirs)
			return nil, nil, err
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	return ours, theirs, nil
}

// read starts to read what the process sends. stop waits until everything is read,
// but not longer than linger.
func (p *Process) read(spec Spec, stdout, stderr, ready *os.File) (stop func()) {
	var readers sync.WaitGroup // each ends with its pipe, or by stop
	pipes := []*pipe{{file: stdout}, {file: stderr}}
	for i, r := range pipes {
		readers.Go(func() {
			r.readLines(func(b []byte) { spec.Output(p.PID, i == 1, b) }, func(b []byte) {
				if spec.Partial != nil {
					spec.Partial(p.PID, i == 1, b)
				}
			})
		})
	}
	readers.Go(func() { p.readReadiness(ready) })
	return func() {
		end := time.Now().Add(linger)
		for _, r := range pipes {
			r.stopAt(end)
		}
		ready.SetReadDeadline(end)
		readers.Wait()
	}
}

// killGroup kills what is left of the group of a process that has ended: its
// children, before the group's number can be reused.
func (p *Process) killGroup() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exited = true
	syscall.Kill(-p.PID, syscall.SIGKILL)
}

// startFresh starts a binary that may just have been written. It tries again while
// a child that another goroutine is forking holds the file open for writing
// (golang.org/issue/22315).
func (p *Parent) startFresh(path string, args []string, attr *os.ProcAttr) (child *os.Process, err error) {
	for pause := time.Millisecond; ; pause *= 2 {
		p.onThread(func() { child, err = os.StartProcess(path, args, attr) })
		if !errors.Is(err, syscall.ETXTBSY) || pause > 100*time.Millisecond {
			return child, err
		}
		<-time.After(pause)
	}
}

// Ready is closed when the process reports that it accepts connections. It stays
// open if the process does not support that.
func (p *Process) Ready() <-chan struct{} { return p.ready }

// ListensOnSocket reports whether the process listens on TQ_SOCKET as well. It is
// valid once Ready is closed.
func (p *Process) ListensOnSocket() bool { return p.onSocket }

// Done is closed when the process has ended and is reaped, and all its output has
// been passed on.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit returns how the process ended. It is valid once Done is closed.
func (p *Process) Exit() Exit { return p.exit }

// Stop ends the process and its group: with SIGTERM, and with SIGKILL after grace or
// when the context ends. With a grace of 0 it sends only SIGKILL. It returns when
// the process is reaped.
func (p *Process) Stop(ctx context.Context, grace time.Duration) {
	if grace > 0 {
		p.signal(syscall.SIGTERM)
		deadline := time.NewTimer(grace)
		defer deadline.Stop()
		select {
		case <-p.done:
			return
		case <-deadline.C:
		case <-ctx.Done():
		}
	}
	p.signal(syscall.SIGKILL)
	<-p.done
}

func (p *Process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.exited {
		syscall.Kill(-p.PID, sig)
	}
}

// readReadiness waits for the byte with which a worker reports that it listens, or
// that another program uses its port.
func (p *Process) readReadiness(r *os.File) {
	var report [1]byte
	if n, _ := r.Read(report[:]); n == 0 {
		return
	}
	switch report[0] {
	case 'r', 's':
		p.onSocket = report[0] == 's'
		close(p.ready)
	case 'x':
		p.exit.PortTaken = true
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
