package supervisor

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/project"
	"tqserver/internal/state"
)

// output takes what all the workers of a page print to the page's file and to
// the store. Its methods may be called from any goroutine, but for setFile, which
// the actor calls.
type output struct {
	deps  *deps
	route string
	name  config.LogFile
	log   atomic.Pointer[openLog]

	panicked atomic.Pointer[string] // what was published of the last panic of a handler
}

// openLog is a log file that may be closed while others want to write to it.
type openLog struct {
	Log
	mu     sync.RWMutex // held to read while lines are written, so that the file is not closed before
	closed bool
}

func (l *openLog) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Close()
}

func newOutput(d *deps, route string, name config.LogFile) *output {
	o := &output{deps: d, route: route, name: name}
	o.log.Store(&openLog{Log: d.openLog(name, route)})
	return o
}

// setFile changes the file. It returns the one before, which is to be closed, or
// nil if they are the same.
func (o *output) setFile(name config.LogFile) (old *openLog) {
	if name == o.name {
		return nil
	}
	o.name = name
	return o.log.Swap(&openLog{Log: o.deps.openLog(name, o.route)})
}

// close closes the file. No worker may be left.
func (o *output) close() { o.log.Load().Close() }

func (o *output) path() string { return o.log.Load().Path() }

// writeLog writes to the file that is open now.
func (o *output) writeLog(b []byte) {
	for {
		l := o.log.Load()
		l.mu.RLock()
		if !l.closed {
			l.Write(b)
			l.mu.RUnlock()
			return
		}
		l.mu.RUnlock() // another took its place before
	}
}

func (o *output) write(pid int, stderr bool, b []byte) {
	o.writeLog(b)
	now, text := time.Now(), string(b)
	batch := make([]state.Line, 0, strings.Count(text, "\n"))
	for line := range strings.Lines(text) {
		batch = append(batch, state.Line{Time: now, Page: o.route, PID: pid, Stderr: stderr, Text: visibleText(line)})
	}
	o.deps.store.Append(batch)
	if strings.Contains(text, "http: panic serving ") {
		o.handlerPanicked(pid, batch)
	}
}

// writePartial takes what there is of a line that has not ended. It goes to the file
// when it does.
func (o *output) writePartial(pid int, stderr bool, b []byte) {
	if text := visibleText(string(b)); text != "" {
		o.deps.store.Append([]state.Line{{Time: time.Now(), Page: o.route, PID: pid, Stderr: stderr, Text: text, Partial: true}})
	}
}

// visibleText is what a line is in the end: what follows a carriage return takes
// the place of what came before.
func visibleText(line string) string {
	line = strings.TrimRight(line, "\r\n")
	return line[strings.LastIndexByte(line, '\r')+1:]
}

// handlerPanicked publishes that a handler panicked, once for each panic of a
// worker that follows another one.
func (o *output) handlerPanicked(pid int, batch []state.Line) {
	lines := make([]string, len(batch))
	for i, line := range batch {
		lines[i] = line.Text
	}
	crash := state.ParseCrash(lines)
	if !crash.Handler {
		return
	}
	what := fmt.Sprint(pid, " ", crashSummary(crash, o.deps.root, o.deps.root))
	if last := o.panicked.Swap(&what); last != nil && *last == what {
		return
	}
	o.deps.store.Publish(state.Event{Level: state.LevelError, Message: "a handler panicked: the worker keeps running", Attrs: []state.Attr{
		state.String("page", o.route), state.Int("pid", pid), state.String("err", crashSummary(crash, o.deps.root, o.deps.root)),
	}})
}

// maxCrashLines is how many lines are searched for what a process said of its end: a
// stack overflow takes hundreds.
const maxCrashLines = 2000

// linesOf is what a process printed last.
func (o *output) linesOf(pid int) (lines []string) {
	for _, line := range o.deps.store.Lines(o.route, maxCrashLines) {
		if line.PID == pid {
			lines = append(lines, line.Text)
		}
	}
	return lines
}

// lastLines is the end of what a process printed, or the beginning of its crash.
func lastLines(lines []string) string {
	const most = 10
	if crash := state.ParseCrash(lines); crash.Message != "" && !crash.Handler {
		lines = lines[crash.Line:]
		return strings.Join(lines[:min(len(lines), most)], "\n")
	}
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// exitCause says in one line why a process ended: how, and what it said of that.
func exitCause(how string, lines []string, root, dir string) string {
	if crash := state.ParseCrash(lines); crash.Message != "" && !crash.Handler {
		return how + ": " + crashSummary(crash, root, dir)
	}
	if strings.Contains(how, "exit status") && len(lines) > 0 {
		return how + ": " + lines[len(lines)-1]
	}
	return how
}

// crashSummary is a crash in one line, with the place in the page's own code, or else
// in the project's.
func crashSummary(crash state.Crash, root, dir string) string {
	text, _, _ := strings.Cut(crash.Message, "\n")
	for _, own := range []string{dir, root} {
		for _, f := range crash.Frames {
			if project.Contains(own, f.File) {
				return fmt.Sprintf("%s (%s:%d)", text, project.Show(root, f.File), f.Line)
			}
		}
	}
	return text
}
