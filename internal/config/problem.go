package config

import (
	"fmt"
	"strings"
)

// A Problem is something that is wrong in the configuration file.
type Problem struct {
	File    string // as the user gave it
	Line    int    // from 1
	Key     string // with its sections, as in server.port; nothing if it is no key that is wrong
	Message string
}

// String returns "file:line: key: message".
func (p Problem) String() string {
	if p.Key == "" {
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	}
	return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Key, p.Message)
}

// Problems is everything that is wrong in a configuration file, by line.
type Problems []Problem

// Error returns the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}
