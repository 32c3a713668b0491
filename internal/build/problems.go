package build

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"tqserver/internal/state"
)

var place = regexp.MustCompile(`^(.+?\.[A-Za-z]+|.*go\.(?:mod|work|sum)):(\d+)(?::(\d+))?: (.*)$`)

// parseProblems reads the go command's words. Files are relative to dir, where
// it ran, and become relative to root.
func parseProblems(text, dir, root string) []state.Problem {
	var problems []state.Problem
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "", strings.HasPrefix(line, "# "):
		case line[0] == '\t' && len(problems) > 0:
			problems[len(problems)-1].Message += "\n" + line
		default:
			problems = append(problems, parseProblem(line, dir, root))
		}
	}
	return problems
}

func parseProblem(line, dir, root string) state.Problem {
	m := place.FindStringSubmatch(line)
	if m == nil {
		return state.Problem{Message: strings.TrimPrefix(line, "go: ")}
	}
	p := state.Problem{File: m[1], Message: m[4]}
	if !filepath.IsAbs(p.File) {
		p.File = filepath.Join(dir, p.File)
	}
	p.File = show(p.File, root)
	p.Line, _ = strconv.Atoi(m[2])
	p.Column, _ = strconv.Atoi(m[3])
	return p
}
