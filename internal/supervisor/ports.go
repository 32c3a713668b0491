package supervisor

import (
	"errors"
	"sync"
	"syscall"
)

// ports is the pool of ports for workers, least recently used first.
type ports struct {
	mu          sync.Mutex // guards all below
	first, last int
	free        []int // the longest unused first
	used        map[int]bool
	freed       chan struct{} // closed when a port comes back

	taken func(port int) bool // by another program
}

func newPorts(first, last int) *ports {
	p := &ports{used: make(map[int]bool), freed: make(chan struct{}), taken: portTaken}
	p.setRange(first, last)
	return p
}

// setRange changes which ports may be given out. Those in use stay so.
func (p *ports) setRange(first, last int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if first == p.first && last == p.last {
		return
	}
	p.first, p.last = first, last
	p.free = nil
	for port := first; port <= last; port++ {
		if !p.used[port] {
			p.free = append(p.free, port)
		}
	}
	p.wakeLocked()
}

// bounds returns the first and the last port of the range.
func (p *ports) bounds() (first, last int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first, p.last
}

// acquire takes a port that no program listens on. If there is none, freed is
// closed when it is worth to ask again because a port came back.
func (p *ports) acquire() (port int, freed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, port := range p.free {
		if p.taken(port) {
			continue
		}
		p.free = append(p.free[:i:i], p.free[i+1:]...)
		p.used[port] = true
		return port, nil
	}
	return 0, p.freed
}

// release gives a port back. Its process must have been reaped.
func (p *ports) release(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, port)
	if p.first <= port && port <= p.last {
		p.free = append(p.free, port)
	}
	p.wakeLocked()
}

func (p *ports) wakeLocked() {
	close(p.freed)
	p.freed = make(chan struct{})
}

// portTaken reports whether a program holds the port, on any address: a page may
// want to listen on all of them. Not every kernel refuses that one because of
// loopback, so both are tried.
func portTaken(port int) bool {
	return bindRefused(syscall.AF_INET, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}) ||
		bindRefused(syscall.AF_INET, &syscall.SockaddrInet4{Port: port}) ||
		bindRefused(syscall.AF_INET6, &syscall.SockaddrInet6{Port: port})
}

// bindRefused reports whether listening at an address is refused. Nothing may be forked
// meanwhile: until it executes its program the child has the socket too, and the
// next look would find the port held by ourselves. net.Listen cannot be used
// then, because on some systems it waits for forks itself.
func bindRefused(family int, at syscall.Sockaddr) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err != nil {
		return false // the kernel knows no such addresses
	}
	defer syscall.Close(fd)
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	err = syscall.Bind(fd, at)
	if err == nil {
		err = syscall.Listen(fd, 1)
	}
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES)
}
