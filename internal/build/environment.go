package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// environment is environment pages are built. It is taken once a build, so that a binary is
// never remembered under settings that came while it was made.
type environment struct {
	ldflags   string
	env       map[string]string // never written to
	settings  settings          // of the user
	toolchain settings          // of the go command's own file
	shim      bool              // the go command is not a toolchain's own
	cacheEnv  []string          // for caches that have no place in a home
}

func (b *Builder) environment() environment {
	b.mu.Lock()
	e := environment{ldflags: b.opts.LDFlags, env: b.opts.Env}
	b.mu.Unlock()
	e.settings, e.toolchain = e.readSettings()
	e.shim = isShim()
	e.cacheEnv = e.caches(b.temp)
	return e
}

func (e environment) environ() []string {
	env := os.Environ()
	for key, value := range e.env {
		env = append(env, key+"="+value)
	}
	return append(env, e.cacheEnv...)
}

func (e environment) getenv(key string) string {
	if value, ok := e.env[key]; ok {
		return value
	}
	return os.Getenv(key)
}

// linkerFlags leave out the build ID: it changes with every comment, and
// programs that differ in nothing else are the same. A user's own comes later
// and wins.
func (e environment) linkerFlags() string {
	if flags := strings.TrimSpace(e.ldflags); flags == "" || flags[0] == '-' {
		return strings.TrimSpace("-buildid= " + flags)
	}
	return e.ldflags // for packages by pattern (go help build)
}

// toolSettings are the variables that decide what tools make, beside those
// that begin with GO or CGO_ (go help environment).
var toolSettings = []string{"AR", "CC", "CXX", "FC", "PKG_CONFIG", "PKG_CONFIG_PATH"}

// elsewhere are variables that say where tools work and how much they take, and
// decide nothing of what they make: with another, or one that cannot be used,
// what was built is still as it was.
var elsewhere = []string{"GOCACHE", "GOCACHEPROG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOMODCACHE", "GOPROXY", "GOTMPDIR"}

// settingsHash is one name for all that decides how the go command builds, but for
// which go command it is.
func (e environment) settingsHash() string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", e.linkerFlags())
	for _, key := range slices.Sorted(maps.Keys(e.env)) {
		fmt.Fprintf(sum, "%q=%q\n", key, e.env[key])
	}
	env := os.Environ()
	slices.Sort(env)
	for _, kv := range env {
		key, _, _ := strings.Cut(kv, "=")
		decides := strings.HasPrefix(key, "GO") || strings.HasPrefix(key, "CGO_") || slices.Contains(toolSettings, key)
		if decides && !slices.Contains(elsewhere, key) {
			fmt.Fprintf(sum, "%q\n", kv)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(e.settings)) {
		if !slices.Contains(elsewhere, key) {
			fmt.Fprintf(sum, "%q=%q\n", key, e.settings[key])
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// tools names what builds without running it: the go command in PATH, the C
// compiler if it is used, and the program that runs the tools if there is one.
// It is empty if there is no go command.
func (e environment) tools() string {
	path, err := exec.LookPath("go")
	if err != nil {
		return ""
	}
	tools := stampOf(path)
	if tools == "" {
		return ""
	}
	for _, key := range slices.Sorted(maps.Keys(e.toolchain)) {
		tools += fmt.Sprintf("\n%s=%s", key, e.toolchain[key])
	}
	if e.cgo() {
		tools += "\ncgo " + stampOf(e.compiler())
	}
	if words := strings.Fields(e.flags()["toolexec"]); len(words) > 0 {
		if path, err := e.lookPath(words[0]); err == nil {
			tools += "\ntoolexec " + stampOf(path)
		}
	}
	return tools
}

// stampOf tells one state of a program from another; empty if it is not there.
func stampOf(path string) string {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano())
}
