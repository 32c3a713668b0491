package build

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
)

func TestWhoPeopleWaitForLooksFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLimiter(1)
		release, _ := s.acquire(t.Context(), func() int { return priorityOther })
		var order []string
		for _, w := range []struct {
			name string
			rank int
		}{{"first", priorityOther}, {"second", priorityOther}, {"awaited", priorityUrgent}} {
			go func() {
				release, err := s.acquire(t.Context(), func() int { return w.rank })
				if err == nil {
					order = append(order, w.name)
					release()
				}
			}()
			synctest.Wait()
		}
		gone, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := s.acquire(gone, func() int { return priorityUrgent }); err == nil {
				t.Error("who left got a slot")
			}
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		release()
		synctest.Wait()
		if want := []string{"awaited", "first", "second"}; !slices.Equal(order, want) {
			t.Errorf("got %v", order)
		}
		if s.free != 1 {
			t.Errorf("%d slots are free", s.free)
		}
	})
}
