package live

import (
	"regexp"
	"strconv"
	"strings"
)

// panicked is what the runtime says when a program ends by a panic.
type panicked struct {
	message string
	frames  []frame // of the goroutine that did
}

// frame is one call.
type frame struct {
	Call string
	File string
	Line int
}

var place = regexp.MustCompile(`^\s+(\S.*\.(?:go|s)):(\d{1,9})(?: \+0x[0-9a-f]+)?$`)

// parsePanic reads the newest panic in what a program printed, and the frames of
// the first goroutine (runtime.printpanics, runtime.traceback).
func parsePanic(words []string) (p panicked) {
	start := -1
	for i, line := range words {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			start = i
		}
	}
	if start < 0 {
		return p
	}
	_, p.message, _ = strings.Cut(words[start], ": ")
	rest := words[start+1:]
	for len(rest) > 0 && !strings.HasPrefix(rest[0], "goroutine ") {
		if more := strings.TrimSpace(rest[0]); more != "" {
			p.message += "\n" + more
		}
		rest = rest[1:]
	}
	for i := 1; i+1 < len(rest) && rest[i] != ""; i += 2 {
		m := place.FindStringSubmatch(rest[i+1])
		if m == nil {
			break
		}
		line, _ := strconv.Atoi(m[2])
		p.frames = append(p.frames, frame{strings.TrimSpace(rest[i]), m[1], line})
	}
	return p
}
