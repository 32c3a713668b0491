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

// how is how pages are built. It is taken once a build, so that a binary is
// never remembered under settings that came while it was made.
type how struct {
	ldflags   string
	env       map[string]string // never written to
	settings  settings          // of the user
	toolchain settings          // of the go command's own file
	standIn   bool              // the go command is not a toolchain's own
	cacheEnv  []string          // for caches that have no place in a home
}

func (b *Builder) how() how {
	b.mu.Lock()
	h := how{ldflags: b.opts.LDFlags, env: b.opts.Env}
	b.mu.Unlock()
	h.settings, h.toolchain = h.readSettings()
	h.standIn = standIn()
	h.cacheEnv = h.caches(b.temp)
	return h
}

func (h how) environ() []string {
	env := os.Environ()
	for key, value := range h.env {
		env = append(env, key+"="+value)
	}
	return append(env, h.cacheEnv...)
}

func (h how) getenv(key string) string {
	if value, ok := h.env[key]; ok {
		return value
	}
	return os.Getenv(key)
}

// linkerFlags leave out the build ID: it changes with every comment, and
// programs that differ in nothing else are the same. A user's own comes later
// and wins.
func (h how) linkerFlags() string {
	if flags := strings.TrimSpace(h.ldflags); flags == "" || flags[0] == '-' {
		return strings.TrimSpace("-buildid= " + flags)
	}
	return h.ldflags // for packages by pattern (go help build)
}

// toolSettings are the variables that decide what tools make, beside those
// that begin with GO or CGO_ (go help environment).
var toolSettings = []string{"AR", "CC", "CXX", "FC", "PKG_CONFIG", "PKG_CONFIG_PATH"}

// elsewhere are variables that say where tools work and how much they take, and
// decide nothing of what they make: with another, or one that cannot be used,
// what was built is still as it was.
var elsewhere = []string{"GOCACHE", "GOCACHEPROG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOMODCACHE", "GOPROXY", "GOTMPDIR"}

// flavour is one name for all that decides how the go command builds, but for
// which go command it is.
func (h how) flavour() string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", h.linkerFlags())
	for _, key := range slices.Sorted(maps.Keys(h.env)) {
		fmt.Fprintf(sum, "%q=%q\n", key, h.env[key])
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
	for _, key := range slices.Sorted(maps.Keys(h.settings)) {
		if !slices.Contains(elsewhere, key) {
			fmt.Fprintf(sum, "%q=%q\n", key, h.settings[key])
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// tools names what builds without running it: the go command in PATH, the C
// compiler if it is used, and the program that runs the tools if there is one.
// It is empty if there is no go command.
func (h how) tools() string {
	path, err := exec.LookPath("go")
	if err != nil {
		return ""
	}
	tools := stampOf(path)
	if tools == "" {
		return ""
	}
	for _, key := range slices.Sorted(maps.Keys(h.toolchain)) {
		tools += fmt.Sprintf("\n%s=%s", key, h.toolchain[key])
	}
	if h.cgo() {
		tools += "\ncgo " + stampOf(h.compiler())
	}
	if words := strings.Fields(h.flags()["toolexec"]); len(words) > 0 {
		if path, err := h.lookPath(words[0]); err == nil {
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
