package supervisor

import (
	"strconv"
	"testing"
	"time"
)

func TestPausesDoubleToHalfAMinute(t *testing.T) {
	want := []time.Duration{0, 0, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
		1600 * time.Millisecond, 3200 * time.Millisecond, 6400 * time.Millisecond, 12800 * time.Millisecond, 25600 * time.Millisecond, 30 * time.Second, 30 * time.Second}
	for crashes, middle := range want {
		for i := range 100 {
			if got := pauseBefore(crashes, strconv.Itoa(i)); got < middle-middle/10 || got > middle+middle/10 {
				t.Fatalf("after %d crashes %v, not about %v", crashes, got, middle)
			}
		}
	}
	if got := pauseBefore(1<<40, "/"); got > 33*time.Second {
		t.Errorf("after very many %v", got)
	}
}
