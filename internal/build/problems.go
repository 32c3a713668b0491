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

// parseProblems reads the go command's words. Files are relative to dir, where
// it ran, and become relative to root. Messages are valid UTF-8 and hold no
// control characters but newlines and tabs, because they end on terminals.
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

// isNoise is what tells how the work goes on, or what the lines after it say
// again with their place.
func isNoise(line string) bool {
	return strings.HasPrefix(line, "go: downloading ") ||
		strings.HasPrefix(line, "go: errors parsing ") && strings.HasSuffix(line, ":")
}

// addLine adds a further line. After a chain of imports it can be the first to
// have a place.
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

// toolFailure returns the reason if a problem says what keeps the compiler
// from its work, which the next save of the program does not mend.
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

// lostCache reports whether the go command says that it lacks what it had a
// moment before, in its cache: go clean removes it from under a build. Of
// packages of the standard library it says then that they are not there, which
// they are.
func lostCache(text string) bool {
	for _, m := range notInStd.FindAllStringSubmatch(text, -1) {
		if info, err := os.Stat(m[1]); err == nil && info.IsDir() {
			return true
		}
	}
	return cacheFile.MatchString(text)
}

// toolError is what keeps the compiler from its work, in its words.
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

// notMain is the problem of a page that is no program.
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
