package build

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
)

// The go command keeps compiled packages and modules in the user's home. A
// system's service may have none, or one that it must not write to.

// caches are variables that give the go command folders below temp where it has
// none of its own.
func (e environment) caches(temp string) (env []string) {
	if e.lookup("GOCACHE") == "" && !writable(e.userCache()) {
		env = append(env, "GOCACHE="+filepath.Join(temp, "go-build"))
	}
	if e.lookup("GOMODCACHE") == "" && !slices.ContainsFunc(filepath.SplitList(e.goPath()), writable) {
		env = append(env, "GOMODCACHE="+filepath.Join(temp, "go-mod"))
	}
	return env
}

// userCache is where programs keep what they can make again; empty if there is
// no such place (os.UserCacheDir).
func (e environment) userCache() string {
	home := e.getenv("HOME")
	switch dir := e.getenv("XDG_CACHE_HOME"); {
	case runtime.GOOS == "darwin" && home != "":
		return filepath.Join(home, "Library", "Caches")
	case runtime.GOOS != "darwin" && dir != "":
		return dir
	case home != "":
		return filepath.Join(home, ".cache")
	}
	return ""
}

// goPath is what the go command takes for GOPATH.
func (e environment) goPath() string {
	if path := e.lookup("GOPATH"); path != "" {
		return path
	}
	if home := e.getenv("HOME"); home != "" {
		return filepath.Join(home, "go")
	}
	return ""
}

// writable reports whether a folder can be written to, or made.
func writable(dir string) bool {
	if !filepath.IsAbs(dir) {
		return false
	}
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil {
			const write, search = 2, 1 // W_OK and X_OK of access(2)
			return info.IsDir() && syscall.Access(dir, write|search) == nil
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}
