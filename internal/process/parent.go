package process

import (
	"fmt"
	"os"
	"runtime"
	"sync"
)

// Parent starts processes. Its methods may be called from any goroutine.
type Parent struct {
	forks    chan func()
	forking  sync.WaitGroup
	guardian *guardian
	alive    *os.File // read end of a pipe that ends with the server
	holds    *os.File // its write end; nothing is written to it
}

// NewParent returns a Parent with its guardian running.
func NewParent() (*Parent, error) {
	alive, holds, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the pipe that workers watch: %w", err)
	}
	p := &Parent{forks: make(chan func()), alive: alive, holds: holds}
	// The parent death signal is sent when the thread that forked ends, so all
	// forks are made by one goroutine that keeps its thread
	// (golang.org/issue/27505). It ends when Close closes the channel.
	p.forking.Go(func() {
		runtime.LockOSThread()
		resetScheduling()
		for f := range p.forks {
			f()
		}
	})
	if p.guardian, err = startGuardian(p.onThread); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// Close ends the guardian. Every process must have been stopped before.
func (p *Parent) Close() {
	p.guardian.close()
	p.close()
}

func (p *Parent) close() {
	close(p.forks)
	p.forking.Wait()
	p.alive.Close()
	p.holds.Close()
}

// Guard adds a process group that another package started to those that the guardian
// kills. Call release before the group's leader is reaped.
func (p *Parent) Guard(pgid int) (release func()) {
	p.guardian.add(pgid)
	return func() { p.guardian.remove(pgid) }
}

func (p *Parent) onThread(f func()) {
	done := make(chan struct{})
	p.forks <- func() { defer close(done); f() }
	<-done
}
