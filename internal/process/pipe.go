package process

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// maxLine is the longest piece of output that is handed on as one line.
const maxLine = 64 << 10

// A process that prints without end is read at readPace bytes a second, in
// bursts. It waits two milliseconds again and again, and the processors are left
// to others.
const (
	maxRate   = 16 << 20
	burstSize = 32 << 10
)

// partialAfter is how long a line may pause before what there is of it is handed on.
const partialAfter = 200 * time.Millisecond

// pipe is what a process prints to.
type pipe struct {
	file interface {
		io.Reader
		SetReadDeadline(time.Time) error
	}

	mu       sync.Mutex // guards end, and that no deadline is later
	stopTime time.Time  // of reading, zero while the process runs
}

// stopAt ends reading at a time, although something may come still.
func (p *pipe) stopAt(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopTime = t
	p.file.SetReadDeadline(t)
}

// setTimeout ends a read that has waited so long; 0 is for ever.
func (p *pipe) setTimeout(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var t time.Time
	if d > 0 {
		t = time.Now().Add(d)
	}
	if !p.stopTime.IsZero() && (t.IsZero() || p.stopTime.Before(t)) {
		t = p.stopTime
	}
	p.file.SetReadDeadline(t)
}

// stopped reports whether the time of reading is over.
func (p *pipe) stopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.stopTime.IsZero() && !time.Now().Before(p.stopTime)
}

// readLines hands on what comes, in whole lines where they are short enough.
// What there is of a line that pauses is shown meanwhile.
func (p *pipe) readLines(hand, show func([]byte)) {
	buf, n := make([]byte, 1<<10), 0
	began, read := time.Now(), 0
	timed := false // the next read wakes up by itself
	for {
		m, err := p.file.Read(buf[n : len(buf)-1])
		n += m
		if errors.Is(err, os.ErrDeadlineExceeded) && !p.stopped() {
			if n > 0 {
				show(buf[:n])
			}
			p.setTimeout(0)
			timed = false
			continue
		}
		if read += m; read >= burstSize {
			<-time.After(time.Until(began.Add(time.Duration(read) * time.Second / maxRate)))
			began, read = time.Now(), 0
		}
		if end := bytes.LastIndexByte(buf[:n], '\n') + 1; end > 0 {
			hand(buf[:end])
			n = copy(buf, buf[end:n])
		}
		switch full := n == len(buf)-1; {
		case full && len(buf) < maxLine:
			buf = append(buf, make([]byte, len(buf))...)
		case full, err != nil && n > 0:
			buf[n] = '\n'
			hand(buf[:n+1])
			n = 0
		}
		if err != nil {
			return
		}
		if n > 0 {
			p.setTimeout(partialAfter)
			timed = true
		} else if timed {
			p.setTimeout(0)
			timed = false
		}
	}
}
