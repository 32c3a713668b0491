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
	ldflags  string
	env      map[string]string // never written to
	settings settings
}

func (b *Builder) how() how {
	b.mu.Lock()
	h := how{ldflags: b.opts.LDFlags, env: b.opts.Env}
	b.mu.Unlock()
	h.settings = h.readSettings()
	return h
}

func (h how) environ() []string {
	env := os.Environ()
	for key, value := range h.env {
		env = append(env, key+"="+value)
	}
	return env
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

// toolchain names the go command in PATH without running it; empty if there is
// none.
func toolchain() string {
	path, err := exec.LookPath("go")
	if err != nil {
		return ""
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano())
}
