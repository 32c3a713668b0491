package proxy

import (
	"math"
	"math/bits"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// How requests are counted: each once, when it ends, by a few atomic additions
// to the counters of its route. Nothing is kept of a single request: rates and
// percentiles come from comparing a copy of the counters with an earlier one.
//
// Durations go to buckets, eight an octave, as in HDR histograms: shifts find the
// bucket, the error is the same for a millisecond and a minute, and two histograms can
// be subtracted. A sketch such as t-digest would be smaller and more exact at the ends,
// but needs a lock.

const (
	subBits  = 3  // log2 of the buckets of an octave
	shortest = 10 // log2 of nanoseconds; what took less counts as that
	longest  = 37 // what took that or more counts as a little less
	buckets  = (longest - shortest) << subBits

	untimed = time.Duration(-1) // the duration of a request that is not timed
)

// traffic counts the requests of a route.
type traffic struct {
	requests  atomic.Uint64
	errors    atomic.Uint64
	upgraded  atomic.Int64
	durations [buckets]atomic.Uint64
}

// record counts a request that has ended. A status of 0 is no response.
func (t *traffic) record(status int, took time.Duration) {
	if took != untimed {
		t.durations[bucketOf(took)].Add(1)
	}
	t.requests.Add(1)
	if status >= http.StatusInternalServerError {
		t.errors.Add(1)
	}
}

// Traffic counts the requests of a route.
type Traffic struct {
	Requests uint64 // that have ended, refused ones included
	Errors   uint64 // of them, with a status of 500 or more
	InFlight int    // requests that have a backend, streams included
	Draining int    // of them, on backends that the route serves with no more
	Upgraded int    // upgraded connections that are open
}

// Traffic returns the counts. They are of almost one moment: there are never more errors
// than requests, nor more requests that drain than are in flight.
func (r *Route) Traffic() Traffic {
	t := Traffic{Errors: r.traffic.errors.Load(), Upgraded: int(r.traffic.upgraded.Load())}
	t.Requests = r.traffic.requests.Load()
	s := r.current()
	for _, b := range s.retired {
		t.Draining += b.InFlight()
	}
	t.InFlight = t.Draining
	for i, b := range s.backends {
		if !slices.Contains(s.backends[:i], b) {
			t.InFlight += b.InFlight()
		}
	}
	return t
}

// Durations returns how long requests took, from their arrival to the end of their
// response: all that [Route.Traffic] counted before, but streams and requests without a
// response.
func (r *Route) Durations() *Histogram {
	h := new(Histogram)
	for i := range r.traffic.durations {
		h[i] = r.traffic.durations[i].Load()
	}
	return h
}

// Histogram counts durations: eight buckets an octave from 1 µs to 137 s.
// Shorter and longer ones are in the first and the last bucket.
type Histogram [buckets]uint64

// Sub returns what h counted since it was old.
func (h *Histogram) Sub(old *Histogram) *Histogram {
	since := new(Histogram)
	for i := range h {
		since[i] = h[i] - old[i]
	}
	return since
}

// Quantile returns a duration that a part q of all does not exceed, and that
// the others do: the middle of its bucket, which is off by at most a sixteenth.
// A q of 0.5 gives the median. Of no durations it is 0.
func (h *Histogram) Quantile(q float64) time.Duration {
	var all uint64
	for _, n := range h {
		all += n
	}
	if all == 0 {
		return 0
	}
	rank := max(1, min(all, uint64(math.Ceil(q*float64(all)))))
	i := 0
	for rank > h[i] {
		rank -= h[i]
		i++
	}
	return middle(i)
}

// bucketOf returns the bucket of a duration: the octave and the three bits
// below its leading one.
func bucketOf(d time.Duration) int {
	ns := uint64(max(1<<shortest, min(d, 1<<longest-1)))
	octave := bits.Len64(ns) - 1
	return (octave-shortest)<<subBits | int(ns>>(octave-subBits))&(1<<subBits-1)
}

// middle returns the middle of a bucket.
func middle(bucket int) time.Duration {
	octave := shortest + bucket>>subBits
	first := 1<<subBits | bucket&(1<<subBits-1) // the leading one and the bits below it
	return time.Duration(2*first+1) << (octave - subBits - 1)
}
