package load

import (
	"slices"
	"time"

	"tqserver/internal/proxy"
)

// window holds the counts of a route at moments of the last ten seconds, oldest
// first. If no request ended in that time, it holds only the newest.
type window []moment

type moment struct {
	at        time.Time
	requests  uint64
	durations *proxy.Histogram // shared by moments between which no request ended
}

// add adds a moment. It calls durations only if a request has ended since the
// last one. Before the first moment the counts are zero.
func (w *window) add(now time.Time, requests uint64, durations func() *proxy.Histogram) {
	if len(*w) == 0 {
		*w = append(*w, moment{at: now, durations: new(proxy.Histogram)})
	}
	last := (*w)[len(*w)-1]
	m := moment{at: now, requests: requests, durations: last.durations}
	if requests != last.requests {
		m.durations = durations()
	}
	if requests == (*w)[0].requests {
		*w = (*w)[:0]
	} else {
		*w = slices.Delete(*w, 0, w.indexAt(now.Add(-responsesOver)))
	}
	*w = append(*w, m)
}

// indexAt returns the index of the newest moment that is not after t, or of the
// oldest.
func (w window) indexAt(t time.Time) int {
	i := len(w) - 1
	for i > 0 && w[i].at.After(t) {
		i--
	}
	return max(0, i)
}

// rate returns the requests a second over the last two seconds.
func (w window) rate(now time.Time) float64 {
	first, last := w[w.indexAt(now.Add(-rateOver))], w[len(w)-1]
	return roundRate(float64(last.requests-first.requests) / max(last.at.Sub(first.at), rateOver).Seconds())
}

// responses returns how long the responses of the last ten seconds took, nil if
// there were none.
func (w window) responses(now time.Time) *proxy.Histogram {
	first, last := w[w.indexAt(now.Add(-responsesOver))], w[len(w)-1]
	if first.durations == last.durations {
		return nil
	}
	return last.durations.Sub(first.durations)
}
