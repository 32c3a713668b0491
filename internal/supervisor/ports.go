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
	free        []int // least recently used first
	used        map[int]bool
	freed       chan struct{} // closed when a port comes back

	taken func(port int) bool // by another program
}

func newPorts(first, last int) *ports {
	p := &ports{used: make(map[int]bool), freed: make(chan struct{}), taken: portTaken}
	p.setRange(first, last)
	return p
}

// setRange changes the range of ports. Ports in use stay in use.
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

// acquire returns a port that no program listens on, or 0 if there is none. Then freed
// is closed when a port has come back.
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

// release returns a port to the pool. Its process must have been reaped.
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

// portTaken reports whether a program listens on the port, on any address, because a
// page may want to listen on all of them. Not every kernel refuses all addresses
// because of a listener on loopback, so both are tried.
func portTaken(port int) bool {
	return bindRefused(syscall.AF_INET, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}) ||
		bindRefused(syscall.AF_INET, &syscall.SockaddrInet4{Port: port}) ||
		bindRefused(syscall.AF_INET6, &syscall.SockaddrInet6{Port: port})
}

// bindRefused reports whether the kernel refuses to listen on an address. No process
// may be forked meanwhile: until a child executes its program it holds the socket
// too, and the next call would find the port in use. net.Listen cannot be used under
// this lock, because on some systems it takes it itself.
func bindRefused(family int, at syscall.Sockaddr) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err != nil {
		return false // the kernel does not support such addresses
	}
	defer syscall.Close(fd)
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	err = syscall.Bind(fd, at)
	if err == nil {
		err = syscall.Listen(fd, 1)
	}
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES)
}
