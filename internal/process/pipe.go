package process

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// maxLine is the length of the longest line that is passed on whole.
const maxLine = 64 << 10

// A process that prints without end is read at maxRate bytes a second, in bursts of
// burstSize, with pauses of about two milliseconds. That leaves the processors to
// others.
const (
	maxRate   = 16 << 20
	burstSize = 32 << 10
)

// partialAfter is how long a line may pause before its beginning is passed on.
const partialAfter = 200 * time.Millisecond

// pipe is the read end of a process's stdout or stderr.
type pipe struct {
	file interface {
		io.Reader
		SetReadDeadline(time.Time) error
	}

	mu       sync.Mutex // guards stopTime, and keeps deadlines before it
	stopTime time.Time  // when reading stops; zero while the process runs
}

// stopAt stops reading at t, even if the pipe is still open then.
func (p *pipe) stopAt(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopTime = t
	p.file.SetReadDeadline(t)
}

// setTimeout sets how long a read may wait; 0 is for ever.
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

// stopped reports whether reading is to stop.
func (p *pipe) stopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.stopTime.IsZero() && !time.Now().Before(p.stopTime)
}

// readLines passes lines to output until the pipe ends or is stopped: whole lines, or
// pieces of lines longer than maxLine. If a line pauses, its beginning goes to
// partial first.
func (p *pipe) readLines(output, partial func([]byte)) {
	buf, n := make([]byte, 1<<10), 0
	began, read := time.Now(), 0
	timed := false // the next read has a timeout
	for {
		m, err := p.file.Read(buf[n : len(buf)-1])
		n += m
		if errors.Is(err, os.ErrDeadlineExceeded) && !p.stopped() {
			if n > 0 {
				partial(buf[:n])
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
			output(buf[:end])
			n = copy(buf, buf[end:n])
		}
		switch full := n == len(buf)-1; {
		case full && len(buf) < maxLine:
			buf = append(buf, make([]byte, len(buf))...)
		case full, err != nil && n > 0:
			buf[n] = '\n'
			output(buf[:n+1])
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
