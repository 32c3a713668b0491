package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// pieceSize is the longest piece of output that is handed on as one line.
const pieceSize = 64 << 10

// A process that prints without end is read at readPace bytes a second, in
// bursts. It waits two milliseconds again and again, and the processors are left
// to others.
const (
	readPace  = 16 << 20
	readBurst = 32 << 10
)

// linger is how long output is read after a process ended: a child of its own
// that left its process group may hold the pipe for ever
// (golang.org/issue/23019).
const linger = 200 * time.Millisecond

// Spec says what to start.
type Spec struct {
	Path string // of the binary
	Args []string
	Dir  string
	Env  []string

	// Output gets what the process prints, in order for each of the two
	// streams and from a goroutine each: whole lines that end in a newline,
	// a line longer than 64 KiB in pieces of that size. The bytes are valid
	// until it returns, and while it runs the stream is not read.
	Output func(pid int, stderr bool, lines []byte)
}

// Process is a child, the leader of its own process group.
type Process struct {
	PID int

	ready    chan struct{}
	onSocket bool // complete once ready is closed
	done     chan struct{}
	exit     Exit // complete once done is closed

	mu     sync.Mutex // guards exited: no signal goes to a group that may be another's by now
	exited bool
}

// Exit is how a process ended.
type Exit struct {
	How       string // such as "exit status 1"
	PortTaken bool   // it said that its port belongs to another program
}

// Start starts a process. It can be waited for with Done, whatever becomes of
// it.
func (p *Parent) Start(spec Spec) (*Process, error) {
	var ends [6]*os.File
	for i := 0; i < len(ends); i += 2 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ends[:])
			return nil, fmt.Errorf("start %s: %w", spec.Path, err)
		}
		ends[i], ends[i+1] = r, w
	}
	stdout, stderr, ready := ends[0], ends[2], ends[4]
	ours, theirs := []*os.File{stdout, stderr, ready}, []*os.File{ends[1], ends[3], ends[5]}
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

	var readers sync.WaitGroup // each ends with its pipe, at the latest linger after the process
	readers.Go(func() { readLines(stdout, func(b []byte) { spec.Output(child.Pid, false, b) }) })
	readers.Go(func() { readLines(stderr, func(b []byte) { spec.Output(child.Pid, true, b) }) })
	readers.Go(func() { proc.hear(ready) })
	go func() { // ends with the process
		state := awaitExit(child, pidfd)
		proc.mu.Lock()
		proc.exited = true
		syscall.Kill(-child.Pid, syscall.SIGKILL) // its children, while the number is still its own
		proc.mu.Unlock()
		p.guardian.remove(child.Pid)
		if state == nil {
			state, _ = child.Wait()
		}
		if state != nil {
			proc.exit.How = state.String()
		}
		for _, f := range ours {
			f.SetReadDeadline(time.Now().Add(linger))
		}
		readers.Wait()
		closeAll(ours)
		close(proc.done)
	}()
	return proc, nil
}

// startFresh starts a binary that may have been written a moment ago: a fork
// of another goroutine can still hold it open for writing
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

// Ready is closed when the process has said that it accepts connections. One
// that does not know how never closes it.
func (p *Process) Ready() <-chan struct{} { return p.ready }

// OnSocket reports whether it said that it listens on TQ_SOCKET as well. That
// is known once Ready is closed.
func (p *Process) OnSocket() bool { return p.onSocket }

// Done is closed when the process has ended, was reaped, and all it printed
// was handed on.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit says how the process ended. It is known once Done is closed.
func (p *Process) Exit() Exit { return p.exit }

// Stop ends the process and its group: SIGTERM, and SIGKILL after grace or
// when the context ends. It returns when the process was reaped. A grace of 0
// kills at once.
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

// hear waits for the byte by which a worker says that it listens, or that it
// cannot.
func (p *Process) hear(r *os.File) {
	var said [1]byte
	if n, _ := r.Read(said[:]); n == 0 {
		return
	}
	switch said[0] {
	case 'r', 's':
		p.onSocket = said[0] == 's'
		close(p.ready)
	case 'x':
		p.exit.PortTaken = true
	}
}

// readLines hands on what r has, in whole lines where they are short enough.
func readLines(r io.Reader, hand func([]byte)) {
	buf, n := make([]byte, 1<<10), 0
	began, read := time.Now(), 0
	for {
		m, err := r.Read(buf[n : len(buf)-1])
		n += m
		if read += m; read >= readBurst {
			<-time.After(time.Until(began.Add(time.Duration(read) * time.Second / readPace)))
			began, read = time.Now(), 0
		}
		if end := bytes.LastIndexByte(buf[:n], '\n') + 1; end > 0 {
			hand(buf[:end])
			n = copy(buf, buf[end:n])
		}
		switch full := n == len(buf)-1; {
		case full && len(buf) < pieceSize:
			buf = append(buf, make([]byte, len(buf))...)
		case full, err != nil && n > 0:
			buf[n] = '\n'
			hand(buf[:n+1])
			n = 0
		}
		if err != nil {
			return
		}
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
