package state

import (
	"regexp"
	"strconv"
	"strings"
)

// Crash is what a Go program prints when it ends with a panic or a fatal error, or when
// a handler of net/http panics.
type Crash struct {
	Message string  // begins with "panic: " or "fatal error: "; empty if there was no crash
	Handler bool    // a handler panicked; the program goes on
	Line    int     // index of its first line
	Frames  []Frame // of the goroutine that crashed, innermost first
}

// Frame is one call.
type Frame struct {
	Call string
	File string
	Line int
}

var (
	framePlace = regexp.MustCompile(`^\s+(\S.*\.(?:go|s)):(\d{1,9})(?: \+0x[0-9a-f]+)?(?: fp=0x[0-9a-f]+ sp=0x[0-9a-f]+ pc=0x[0-9a-f]+)?$`)
	// handlerPanic matches the line of net/http behind any prefix of the log.
	handlerPanic = regexp.MustCompile(`http: panic serving \S+: (.*)$`)
)

// ParseCrash finds the newest crash in what a program printed (runtime.printpanics,
// runtime.throw, runtime.traceback, net/http.conn.serve).
func ParseCrash(lines []string) (c Crash) {
	for i, line := range lines {
		switch m := handlerPanic.FindStringSubmatch(line); {
		case m != nil:
			c = Crash{Message: "panic: " + m[1], Handler: true, Line: i}
		case strings.HasPrefix(line, "panic: "), strings.HasPrefix(line, "fatal error: "):
			c = Crash{Message: line, Line: i}
		}
	}
	if c.Message == "" {
		return c
	}
	rest := lines[c.Line+1:]
	for inMessage := true; len(rest) > 0 && !strings.HasPrefix(rest[0], "goroutine "); rest = rest[1:] {
		more := strings.TrimSpace(rest[0])
		if more == "runtime stack:" { // of no goroutine
			inMessage = false
		}
		if inMessage && more != "" {
			c.Message += "\n" + more
		}
	}
	for i := 1; i+1 < len(rest) && rest[i] != ""; i += 2 {
		m := framePlace.FindStringSubmatch(rest[i+1])
		if m == nil {
			break
		}
		line, _ := strconv.Atoi(m[2])
		c.Frames = append(c.Frames, Frame{strings.TrimSpace(rest[i]), m[1], line})
	}
	return c
}
