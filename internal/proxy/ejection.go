package proxy

import "time"

// An end is how an exchange with a worker ended.
type end int

const (
	unknownEnd end = iota // the client or the server ended it: nothing is known of the worker
	goodEnd               // with a response, whatever its status
	badEnd                // there was no connection, or it was cut, or it timed out
)

// ejection decides whether a worker gets requests, by how its exchanges end. It has no
// clock: the time is an argument. The zero value is of a worker that gets some.
type ejection struct {
	failures int           // bad ends in a row
	goodFrom time.Time     // no end was bad since then
	pause    time.Duration // of the last time that it was out, or 0 if that is forgotten
	until    time.Time     // when a request may try it; zero if it is not out
	trying   bool          // a request does
}

// longestPause bounds how long a worker is out, unless the settings say more.
const longestPause = 300 * time.Second

// forgetAfter is how long no end may be bad until the pauses begin anew.
const forgetAfter = time.Minute

func (e *ejection) isOut() bool { return !e.until.IsZero() }

// canTry reports whether a request may try a worker that is out.
func (e *ejection) canTry(now time.Time) bool {
	return e.isOut() && !e.trying && !now.Before(e.until)
}

// ended notes how an exchange ended. If it was not the one that tried the worker, it
// does not matter while the worker is out. The last worker that gets requests goes on.
func (e *ejection) ended(how end, tried, last bool, now time.Time, limits *Balance) {
	if e.isOut() && !tried {
		return
	}
	switch how {
	case unknownEnd:
		e.trying = e.trying && !tried
	case goodEnd:
		if e.isOut() {
			e.readmit(now)
		}
		e.failures = 0
	case badEnd:
		if !e.isOut() && now.Sub(e.goodFrom) >= forgetAfter {
			e.pause = 0
		}
		e.failures++
		e.goodFrom = now
		switch {
		case last && e.isOut():
			e.readmit(now)
		case last:
		case e.isOut(), limits.EjectFailures > 0 && e.failures >= limits.EjectFailures:
			e.pause = min(max(2*e.pause, limits.EjectTime), max(longestPause, limits.EjectTime))
			e.until = now.Add(e.pause)
			e.trying, e.failures = false, 0
		}
	}
}

// readmit lets a worker have requests again.
func (e *ejection) readmit(now time.Time) {
	*e = ejection{pause: e.pause, goodFrom: now}
}
