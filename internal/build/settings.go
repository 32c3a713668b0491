package build

import (
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// settings are variables that a file sets: go env -w writes one, and a toolchain
// may have one of its own (go help environment).
type settings map[string]string

func (e environment) readSettings() (own, toolchain settings) {
	own, toolchain = make(settings), make(settings)
	if path, err := exec.LookPath("go"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			toolchain.read(filepath.Join(filepath.Dir(real), "..", "go.env"))
		}
	}
	if file := e.settingsFile(); file != "" {
		own.read(file)
	}
	return own, toolchain
}

func (s settings) read(file string) {
	text, err := readRegular(file)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok && key != "" && 'A' <= key[0] && key[0] <= 'Z' {
			s[key] = value
		}
	}
}

// settingsFile returns the file that go env -w writes; empty if there is none.
func (e environment) settingsFile() string {
	switch file := e.getenv("GOENV"); file {
	case "":
	case "off":
		return ""
	default:
		return file
	}
	home := e.getenv("HOME")
	dir := e.getenv("XDG_CONFIG_HOME")
	switch {
	case runtime.GOOS == "darwin" && home != "":
		dir = filepath.Join(home, "Library", "Application Support")
	case dir == "" && home != "":
		dir = filepath.Join(home, ".config")
	case dir == "":
		return ""
	}
	return filepath.Join(dir, "go", "env")
}

// lookup returns the value of one of the go command's variables, from the
// environment or else from the files that set it.
func (e environment) lookup(key string) string {
	if value := e.getenv(key); value != "" {
		return value
	}
	if value := e.settings[key]; value != "" {
		return value
	}
	return e.toolchain[key]
}

// flags returns the flags of GOFLAGS by name, the last of each name. A flag
// without a value has "true".
func (e environment) flags() map[string]string {
	flags := make(map[string]string)
	for rest := e.lookup("GOFLAGS"); ; {
		rest = strings.TrimLeft(rest, " \t\r\n")
		if rest == "" {
			return flags
		}
		var flag string
		if quote := rest[0]; quote == '"' || quote == '\'' {
			flag, rest, _ = strings.Cut(rest[1:], string(quote))
		} else if i := strings.IndexAny(rest, " \t\r\n"); i >= 0 {
			flag, rest = rest[:i], rest[i:]
		} else {
			flag, rest = rest, ""
		}
		name, value, ok := strings.Cut(flag, "=")
		if !ok {
			value = "true"
		}
		flags[strings.TrimLeft(name, "-")] = value
	}
}

// instrumentation are flags that are build tags too.
var instrumentation = []string{"race", "msan", "asan"}

// Constraints returns what decides which files the go command builds now.
func (b *Builder) Constraints() build.Context { return b.environment().constraints() }

func (e environment) constraints() build.Context {
	ctx := build.Default
	for setting, key := range map[*string]string{&ctx.GOOS: "GOOS", &ctx.GOARCH: "GOARCH"} {
		if value := e.lookup(key); value != "" {
			*setting = value
		}
	}
	ctx.CgoEnabled = e.cgo()
	flags := e.flags()
	ctx.BuildTags = strings.FieldsFunc(flags["tags"], func(r rune) bool { return r == ',' || r == ' ' })
	if compiler := flags["compiler"]; compiler != "" {
		ctx.Compiler = compiler
	}
	ctx.ToolTags = slices.Clone(ctx.ToolTags)
	for _, name := range instrumentation {
		if flags[name] == "true" {
			ctx.ToolTags = append(ctx.ToolTags, name)
		}
	}
	for name := range strings.SplitSeq(e.lookup("GOEXPERIMENT"), ",") {
		if name != "" {
			ctx.ToolTags = append(ctx.ToolTags, "goexperiment."+name)
		}
	}
	if level := e.lookup("GOAMD64"); ctx.GOARCH == "amd64" && level > "v1" {
		for _, l := range []string{"v2", "v3", "v4"} {
			if l <= level {
				ctx.ToolTags = append(ctx.ToolTags, "amd64."+l)
			}
		}
	}
	return ctx
}

// cgo reports whether the go command uses cgo: if CGO_ENABLED is not set, it does
// if programs are built for this system and there is a C compiler (go help
// environment, cmd/cgo).
func (e environment) cgo() bool {
	switch e.lookup("CGO_ENABLED") {
	case "0":
		return false
	case "1":
		return true
	}
	for key, here := range map[string]string{"GOOS": runtime.GOOS, "GOARCH": runtime.GOARCH} {
		if value := e.lookup(key); value != "" && value != here {
			return false
		}
	}
	return e.getenv("CC") != "" || e.compiler() != ""
}

// compiler returns the path of the C compiler; empty if there is none.
func (e environment) compiler() string {
	words := strings.Fields(e.lookup("CC"))
	if len(words) == 0 {
		words = []string{"gcc"}
		if slices.Contains([]string{"darwin", "freebsd", "openbsd"}, runtime.GOOS) {
			words = []string{"clang"}
		}
	}
	path, err := e.lookPath(words[0])
	if err != nil {
		return ""
	}
	return path
}

// lookPath finds a program as the go command does, whose PATH may differ from ours.
func (e environment) lookPath(name string) (string, error) {
	dirs, ok := e.env["PATH"]
	if !ok || strings.ContainsRune(name, filepath.Separator) {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(dirs) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}
