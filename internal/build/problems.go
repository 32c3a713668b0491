package build

import (
	"errors"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"tqserver/internal/project"
	"tqserver/internal/state"
)

var location = regexp.MustCompile(`^([^\n]+?\.[A-Za-z]+):(\d{1,9})(?::(\d{1,9}))?: (.*)$`)

// parseProblems parses the go command's messages. Files are relative to dir, where
// it ran, and become relative to root. Messages are valid UTF-8 without control
// characters but newlines and tabs, because terminals show them.
func parseProblems(text, dir, root string) []state.Problem {
	var problems []state.Problem
	for line := range strings.Lines(text) {
		line = strings.TrimRight(state.Printable(line), " ")
		switch {
		case strings.TrimSpace(line) == "", strings.HasPrefix(line, "# "), isNoise(line):
		case (line[0] == '\t' || line[0] == ' ') && len(problems) > 0:
			addLine(&problems[len(problems)-1], line, dir, root)
		default:
			problems = append(problems, parseProblem(strings.TrimSpace(line), dir, root))
		}
	}
	return problems
}

// isNoise reports whether a line only shows progress, or announces messages that
// follow with their position.
func isNoise(line string) bool {
	return strings.HasPrefix(line, "go: downloading ") ||
		strings.HasPrefix(line, "go: errors parsing ") && strings.HasSuffix(line, ":")
}

// addLine adds a line to a problem. After a chain of imports it may be the first
// line with a position.
func addLine(p *state.Problem, line, dir, root string) {
	if p.File == "" && strings.HasPrefix(p.Message, "package ") {
		if placed := parseProblem(strings.TrimSpace(line), dir, root); placed.File != "" {
			placed.Message += "\n" + p.Message
			*p = placed
			return
		}
	}
	p.Message += "\n" + line
}

func parseProblem(line, dir, root string) state.Problem {
	m := location.FindStringSubmatch(strings.TrimPrefix(line, "go: "))
	if m == nil || strings.Contains(m[1], ": ") || m[4] == "" {
		return state.Problem{Message: strings.TrimPrefix(line, "go: ")}
	}
	p := state.Problem{File: m[1], Message: m[4]}
	p.File = project.Show(root, project.Abs(dir, p.File))
	p.Line, _ = strconv.Atoi(m[2])
	p.Column, _ = strconv.Atoi(m[3])
	return p
}

// toolFailure returns the reason if a problem is not one of the program, but keeps
// the compiler from its work. The next save does not solve it.
func toolFailure(p state.Problem) error {
	if lostCache(p.Message) {
		return errors.New("the go command's cache is emptied again and again while it builds")
	}
	if p.File != "" {
		return nil
	}
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if strings.Contains(p.Message, err.Error()) {
			return err
		}
	}
	if strings.HasSuffix(p.Message, ": signal: killed") {
		return errors.New("the system killed the compiler, probably because memory ran out")
	}
	return nil
}

var (
	notInStd  = regexp.MustCompile(`is not in std \(([^)]+)\)`)
	cacheFile = regexp.MustCompile(`([/\\][0-9a-f]{2}[/\\][0-9a-f]{64}-[ad]|/pkg/mod/[^:]+): no such file or directory`)
)

// lostCache reports whether the go command misses files of its cache, because go
// clean removed them during the build. It may then say of a package that it is not
// in the standard library, although it is.
func lostCache(text string) bool {
	for _, m := range notInStd.FindAllStringSubmatch(text, -1) {
		if info, err := os.Stat(m[1]); err == nil && info.IsDir() {
			return true
		}
	}
	return cacheFile.MatchString(text)
}

// toolError is what keeps the compiler from its work, with its message.
type toolError struct {
	message string
	cause   error
}

func (o toolError) Error() string {
	if cause := o.cause.Error(); !strings.Contains(o.message, cause) {
		return o.message + ": " + cause
	}
	return o.message
}

func (o toolError) Unwrap() error { return o.cause }

// notMain returns the problem of a page that is not a program.
func notMain(dir, root string) state.Problem {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".go" || !isSource(f.Name()) {
			continue
		}
		set := token.NewFileSet()
		if file, err := parser.ParseFile(set, filepath.Join(dir, f.Name()), nil, parser.PackageClauseOnly); err == nil && file.Name.Name != "main" {
			at := set.Position(file.Name.Pos())
			return state.Problem{File: project.Show(root, at.Filename), Line: at.Line, Column: at.Column, Message: "package " + file.Name.Name + "; expected package main"}
		}
	}
	return state.Problem{Message: "package " + project.Show(root, dir) + " is not a main package"}
}
