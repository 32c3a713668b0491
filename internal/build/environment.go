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

// environment is what decides how the go command builds: flags, variables and
// settings. A build takes it once, so that no binary is recorded under settings
// that changed while it was made.
type environment struct {
	ldflags   string
	env       map[string]string // of the configuration; not modified
	settings  settings          // of the user (go env -w)
	toolchain settings          // of the toolchain's go.env
	shim      bool              // the go command is that of a version manager
	cacheEnv  []string          // see caches
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

// linkerFlags returns the linker's flags without a build ID: the ID changes with
// every comment, and programs that differ in nothing else are the same. An ID in
// the user's flags comes later and wins.
func (e environment) linkerFlags() string {
	if flags := strings.TrimSpace(e.ldflags); flags == "" || flags[0] == '-' {
		return strings.TrimSpace("-buildid= " + flags)
	}
	return e.ldflags // for packages by pattern (go help build)
}

// toolSettings are the variables that affect binaries, besides those that begin
// with GO or CGO_ (go help environment).
var toolSettings = []string{"AR", "CC", "CXX", "FC", "PKG_CONFIG", "PKG_CONFIG_PATH"}

// elsewhere are variables that say where tools work and how much they use, but
// affect no binary. If one changes, existing binaries are still right.
var elsewhere = []string{"GOCACHE", "GOCACHEPROG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOMODCACHE", "GOPROXY", "GOTMPDIR"}

// settingsHash returns a hash of everything that decides how the go command builds,
// except which go command it is.
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

// tools identifies the programs that build, without running them: the go command
// in PATH, the C compiler if cgo is used, and the program of -toolexec. It is
// empty if there is no go command.
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

// stampOf identifies the state of a program; empty if it does not exist.
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
