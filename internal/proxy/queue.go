package proxy

import (
	"container/list"
	"sync"
)

// queue holds the requests that wait, in the order in which they came. When their page
// is ready, each is let go when the one before it was sent: otherwise they would
// overtake each other on their way to the worker.
type queue struct {
	mu      sync.Mutex // guards all
	waiting list.List  // of *heldRequest
}

// heldRequest is a request in a queue.
type heldRequest struct {
	element *list.Element
	turn    chan struct{} // closed when the request is the first, or was let go
	opened  bool
}

// enter returns the last request of the queue, or nil if there are max already.
func (q *queue) enter(max int) *heldRequest {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting.Len() >= max {
		return nil
	}
	h := &heldRequest{turn: make(chan struct{})}
	h.element = q.waiting.PushBack(h)
	q.openFirstLocked()
	return h
}

// leave lets a request go. It may be called again.
func (q *queue) leave(h *heldRequest) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h.openLocked()
	q.waiting.Remove(h.element)
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

func (h *heldRequest) openLocked() {
	if !h.opened {
		h.opened = true
		close(h.turn)
	}
}
