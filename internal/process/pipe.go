package process

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// pieceSize is the longest piece of output that is handed on as one line.
const pieceSize = 64 << 10

// A process that prints without end is read at readPace bytes a second, in
// bursts. It waits two milliseconds again and again, and the processors are left
// to others.
const (
	readPace  = 16 << 20
	readBurst = 32 << 10
)

// silence is how long a line may pause before what there is of it is handed on.
const silence = 200 * time.Millisecond

// pipe is what a process prints to.
type pipe struct {
	file interface {
		io.Reader
		SetReadDeadline(time.Time) error
	}

	mu  sync.Mutex // guards end, and that no deadline is later
	end time.Time  // of reading, zero while the process runs
}

// endAt ends reading at a time, although something may come still.
func (p *pipe) endAt(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = t
	p.file.SetReadDeadline(t)
}

// wakeAfter ends a read that has waited so long; 0 is for ever.
func (p *pipe) wakeAfter(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var t time.Time
	if d > 0 {
		t = time.Now().Add(d)
	}
	if !p.end.IsZero() && (t.IsZero() || p.end.Before(t)) {
		t = p.end
	}
	p.file.SetReadDeadline(t)
}

// over reports whether the time of reading is over.
func (p *pipe) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.end.IsZero() && !time.Now().Before(p.end)
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
		if errors.Is(err, os.ErrDeadlineExceeded) && !p.over() {
			if n > 0 {
				show(buf[:n])
			}
			p.wakeAfter(0)
			timed = false
			continue
		}
		if read += m; read >= readBurst {
			<-time.After(time.Until(began.Add(time.Duration(read) * time.Second / readPace)))
			began, read = time.Now(), 0
		}
		if end := bytes.LastIndexByte(buf[:n], '\n') + 1; end > 0 {
			hand(buf[:end])
			n = copy(buf, buf[end:n])
		}
		switch full := n == len(buf)-1; {
		case full && len(buf) < pieceSize:
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
			p.wakeAfter(silence)
			timed = true
		} else if timed {
			p.wakeAfter(0)
			timed = false
		}
	}
}
