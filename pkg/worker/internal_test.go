package worker

import (
	"math"
	"testing"
)

func TestTheCountStaysAtItsLargest(t *testing.T) {
	t.Parallel()
	r := &Runtime{MaxRequests: math.MaxInt32}
	r.requestCount.Store(math.MaxInt32 - 1)
	for range 3 {
		r.count()
	}
	if r.GetRequestCount() != math.MaxInt32 || !r.ShouldShutdown() {
		t.Errorf("count is %d", r.GetRequestCount())
	}
}

func TestAnIdleTimeoutOfZeroIsNone(t *testing.T) {
	t.Parallel()
	s := newService(&Runtime{ReadTimeout: 1}, nil)
	defer s.close()
	if s.http.IdleTimeout >= 0 { // 0 means ReadTimeout to net/http
		t.Errorf("idle timeout is %v", s.http.IdleTimeout)
	}
}
