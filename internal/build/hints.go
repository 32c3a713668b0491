package build

import (
	"fmt"
	"go/version"
	"path/filepath"
	"regexp"
	"strings"

	"tqserver/internal/project"
	"tqserver/internal/state"
)

// withHint adds what to do about a problem, if the go command does not say it, or
// not where.
func withHint(p state.Problem, dir, root string) state.Problem {
	if hint := hint(p.Message, dir, root); hint != "" {
		p.Message += "\n" + hint
	}
	return p
}

var (
	lacksServer = regexp.MustCompile(`(no required module provides package|missing go\.sum entry for module providing package|malformed module path|unrecognized import path|package) "?tqserver(/|\b).*`)
	suggests    = regexp.MustCompile(`(?m)(to add it|to add|to update it):\n\s*(go \S.*)$`)
)

func hint(message, dir, root string) string {
	mod := findAbove(dir, "go.mod")
	switch {
	case strings.Contains(message, "go.mod file not found"):
		return fmt.Sprintf("A page belongs to a module: run \"go mod init NAME\" in %s, with a name of your choice.", describeFolder(root, root))
	case mod == "":
	case strings.Contains(message, "module tqserver provides package tqserver/") && strings.Contains(message, "replaced but not required"):
		return fmt.Sprintf("Add this line to %s: require tqserver v0.0.0", project.Show(root, mod))
	case lacksServer.MatchString(message) && !isServer(mod) && !strings.Contains(message, "replacement directory"):
		return fmt.Sprintf("No server offers the module tqserver, as its path has no dot. Add these lines to %s, with the folder of tqserver's source: require tqserver v0.0.0, and replace tqserver => FOLDER. Or keep the page in a folder of tqserver's own module.", project.Show(root, mod))
	case strings.Contains(message, "updates to go.mod needed"):
		if line := goLineHint(mod, root); line != "" {
			return line
		}
	}
	m := suggests.FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	at := filepath.Dir(mod)
	if strings.HasPrefix(m[2], "go work") {
		at = filepath.Dir(findAbove(dir, "go.work"))
	}
	return fmt.Sprintf("Run \"%s\" in %s.", m[2], describeFolder(at, root))
}

// isServer reports whether a go.mod is that of tqserver itself.
func isServer(mod string) bool {
	text, _ := readRegular(mod)
	m := moduleClause.FindSubmatch(text)
	return m != nil && string(m[1]) == "tqserver"
}

// goLineHint says which line of a go.mod to change because a module that it takes
// from a folder needs a newer Go; empty if there is none.
func goLineHint(mod, root string) string {
	own := goVersion(mod)
	files := make(map[string]bool)
	addModule(files, mod)
	for file := range files {
		if filepath.Base(file) != "go.mod" || file == mod {
			continue
		}
		if needs := goVersion(file); needs != "" && version.Compare("go"+own, "go"+needs) < 0 {
			return fmt.Sprintf("%s says go %s, and %s needs go %s: change that line to \"go %s\", or run \"go mod tidy\" in %s.", project.Show(root, mod), own, project.Show(root, file), needs, needs, describeFolder(filepath.Dir(mod), root))
		}
	}
	return ""
}

var goClause = regexp.MustCompile(`(?m)^\s*go\s+(\d\S*)`)

// goVersion returns the version of Go that a go.mod names.
func goVersion(mod string) string {
	text, err := readRegular(mod)
	if err != nil {
		return ""
	}
	if m := goClause.FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return "1.16" // the default (Modules reference, go directive)
}

func describeFolder(dir, root string) string {
	if dir == root {
		return "the project's folder"
	}
	return project.Show(root, dir)
}
