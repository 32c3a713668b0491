package proxy

import (
	"container/list"
	"sync"
)

// queue is the requests that wait, in the order in which they came. When their
// page is ready each is let go when the one before it was sent, or else they
// would overtake each other on their way to the worker.
type queue struct {
	mu      sync.Mutex // guards all
	waiting list.List  // of *place
}

// heldRequest is where a request stands.
type heldRequest struct {
	element *list.Element
	turn    chan struct{} // closed when it is the first, or left
	opened  bool
}

// join returns the last place, or nil if max are taken.
func (q *queue) join(max int) *heldRequest {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting.Len() >= max {
		return nil
	}
	p := &heldRequest{turn: make(chan struct{})}
	p.element = q.waiting.PushBack(p)
	q.openFirstLocked()
	return p
}

// leave gives a place up. It may be called again.
func (q *queue) leave(p *heldRequest) {
	if p == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	p.openLocked()
	q.waiting.Remove(p.element)
	q.openFirstLocked()
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting.Len()
}

func (q *queue) openFirstLocked() {
	if first := q.waiting.Front(); first != nil {
		first.Value.(*heldRequest).openLocked()
	}
}

func (p *heldRequest) openLocked() {
	if !p.opened {
		p.opened = true
		close(p.turn)
	}
}
