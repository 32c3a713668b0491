package supervisor

import (
	"errors"
	"net"
	"strconv"
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
	p := &ports{used: make(map[int]bool), freed: make(chan struct{}), taken: taken}
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

// contains reports whether a port lies in the range.
func (p *ports) contains(port int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first <= port && port <= p.last
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

// taken reports whether a program holds the port, on any address: a page may
// want to listen on all of them. Not every kernel refuses that one because of
// loopback, so both are tried.
func taken(port int) bool {
	for _, host := range []string{"127.0.0.1", ""} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
			return true
		}
		if err == nil {
			l.Close()
		}
	}
	return false
}
