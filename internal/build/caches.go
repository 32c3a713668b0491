package build

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
)

// The go command keeps compiled packages and modules in the user's home folder. A
// system service may have none, or one that it cannot write to.

// caches returns variables that give the go command folders below temp for caches
// that it has no other place for.
func (e environment) caches(temp string) (env []string) {
	if e.lookup("GOCACHE") == "" && !writable(e.userCache()) {
		env = append(env, "GOCACHE="+filepath.Join(temp, "go-build"))
	}
	if e.lookup("GOMODCACHE") == "" && !slices.ContainsFunc(filepath.SplitList(e.goPath()), writable) {
		env = append(env, "GOMODCACHE="+filepath.Join(temp, "go-mod"))
	}
	return env
}

// userCache returns the user's cache folder; empty if there is none
// (os.UserCacheDir).
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

// goPath returns GOPATH as the go command sees it.
func (e environment) goPath() string {
	if path := e.lookup("GOPATH"); path != "" {
		return path
	}
	if home := e.getenv("HOME"); home != "" {
		return filepath.Join(home, "go")
	}
	return ""
}

// writable reports whether a folder can be written to, or can be made.
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
