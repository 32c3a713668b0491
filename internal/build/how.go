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
	ldflags string
	env     map[string]string // never written to
}

func (b *Builder) how() how {
	b.mu.Lock()
	defer b.mu.Unlock()
	return how{b.opts.LDFlags, b.opts.Env}
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
	if settings, err := readRegular(h.settingsFile()); err == nil {
		sum.Write(settings)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// settingsFile is where go env -w writes to.
func (h how) settingsFile() string {
	if file := h.getenv("GOENV"); file != "" {
		return file // or "off", which is no file
	}
	dir := h.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		dir, _ = os.UserConfigDir()
	}
	return filepath.Join(dir, "go", "env")
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
