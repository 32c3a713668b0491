package build

import (
	"context"
	"slices"
	"sync"
)

// limiter bounds how many run at a time. The most urgent waiter comes next.
type limiter struct {
	mu    sync.Mutex // guards free and queue
	free  int
	queue []*waiter
}

// waiter waits for a slot.
type waiter struct {
	priority func() int // the lowest goes first, the first among equals
	start    chan struct{}
}

// Priorities of waiters, determined when a slot becomes free.
const (
	priorityUrgent = iota
	priorityOther
)

func newLimiter(n int) *limiter { return &limiter{free: n} }

// acquire waits for a slot and takes it until release is called.
func (s *limiter) acquire(ctx context.Context, rank func() int) (release func(), err error) {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return s.release, nil
	}
	t := &waiter{priority: rank, start: make(chan struct{})}
	s.queue = append(s.queue, t)
	s.mu.Unlock()
	select {
	case <-t.start:
		return s.release, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.queue, t)
	if i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 { // release has just given us a slot
		s.release()
	}
	return nil, ctx.Err()
}

func (s *limiter) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.free++
		return
	}
	best, lowest := 0, s.queue[0].priority()
	for i, t := range s.queue[1:] {
		if r := t.priority(); r < lowest {
			best, lowest = i+1, r
		}
	}
	close(s.queue[best].start)
	s.queue = slices.Delete(s.queue, best, best+1)
}
