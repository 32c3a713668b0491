package supervisor

import (
	"strings"
	"sync"
	"time"

	"tqserver/internal/config"
	"tqserver/internal/state"
)

// output takes what all the workers of a page print to the page's file and to
// the store. Its methods may be called from any goroutine.
type output struct {
	house *house
	route string

	mu   sync.RWMutex // guards all below; held to read while lines are written, so that the file is not closed before
	name config.LogFile
	log  Log
}

func newOutput(h *house, route string, name config.LogFile) *output {
	return &output{house: h, route: route, name: name, log: h.openLog(name, route)}
}

// open changes the file.
func (o *output) open(name config.LogFile) {
	o.mu.Lock()
	if name == o.name {
		o.mu.Unlock()
		return
	}
	old := o.log
	o.name, o.log = name, o.house.openLog(name, o.route)
	o.mu.Unlock()
	old.Close()
}

func (o *output) close() {
	o.mu.Lock()
	log := o.log
	o.mu.Unlock()
	log.Close()
}

func (o *output) path() string {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.log.Path()
}

func (o *output) write(pid int, stderr bool, b []byte) {
	o.mu.RLock()
	o.log.Write(b)
	o.mu.RUnlock()
	now, text := time.Now(), string(b)
	batch := make([]state.Line, 0, strings.Count(text, "\n"))
	for line := range strings.Lines(text) {
		batch = append(batch, state.Line{Time: now, Page: o.route, PID: pid, Stderr: stderr, Text: lastState(line)})
	}
	o.house.store.Append(batch)
}

// show takes what there is of a line that has not ended. It goes to the file
// when it does.
func (o *output) show(pid int, stderr bool, b []byte) {
	if text := lastState(string(b)); text != "" {
		o.house.store.Append([]state.Line{{Time: time.Now(), Page: o.route, PID: pid, Stderr: stderr, Text: text, Open: true}})
	}
}

// lastState is what a line is in the end: what follows a carriage return takes
// the place of what came before.
func lastState(line string) string {
	line = strings.TrimRight(line, "\r\n")
	return line[strings.LastIndexByte(line, '\r')+1:]
}

// lastWords is the end of what a process printed.
func (o *output) lastWords(pid int) string {
	var words []string
	for _, line := range o.house.store.Lines(o.route, 200) {
		if line.PID == pid {
			words = append(words, line.Text)
		}
	}
	return strings.Join(words[max(0, len(words)-10):], "\n")
}
