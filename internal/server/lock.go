package server

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"tqserver/internal/state"
)

// projectLock is the folder that this server serves, by its path: whatever folder
// that leads to is the project, a new release of it too.
type projectLock struct {
	root string
	dir  *os.File // the folder that was there last; it has the lock
}

// lockProject makes sure that no other server runs on the project. The lock
// is on the folder itself: it leaves nothing behind, and the kernel gives it
// back however the server ends.
func lockProject(root string) (*projectLock, error) {
	dir, err := os.Open(root)
	if err != nil {
		return nil, fmt.Errorf("open the project folder: %w", err)
	}
	err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer dir.Close()
		who := "another tqserver"
		if pid := lockHolder(dir); pid != "" {
			who += " (pid " + pid + ")"
		}
		return nil, fmt.Errorf("%s already runs on %s: stop it first", who, root)
	}
	return &projectLock{root, dir}, nil // a file system without locks is no reason not to start
}

func (p *projectLock) Close() error { return p.dir.Close() }

// followRoot reports whether the path leads to another folder than before. It takes
// the lock of that, and works there if it worked in the one before.
func (p *projectLock) followRoot(tell func(state.Level, string, ...state.Attr)) (moved bool) {
	before, err := p.dir.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(p.root)
	if err != nil || os.SameFile(before, now) {
		return false // while there is none, nothing can be taken
	}
	next, err := lockProject(p.root)
	if err != nil {
		tell(state.LevelError, "the project's folder was replaced, and the new one cannot be used", state.String("dir", p.root), state.String("err", err.Error()))
		return false
	}
	if here, err := os.Stat("."); err == nil && os.SameFile(here, before) {
		os.Chdir(p.root) // it is there, or was until this moment
	}
	p.dir.Close()
	p.dir = next.dir
	tell(state.LevelInfo, "the project's folder was replaced: building its pages and restarting all workers", state.String("dir", p.root))
	return true
}

// lockHolder returns who holds the lock, where the kernel tells (proc(5),
// /proc/locks).
func lockHolder(dir *os.File) (pid string) {
	info, err := dir.Stat()
	if err != nil {
		return ""
	}
	stat := info.Sys().(*syscall.Stat_t)
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return ""
	}
	defer locks.Close()
	inode := fmt.Sprintf(":%d", stat.Ino)
	for in := bufio.NewScanner(locks); in.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 708 08:01:29360304 0 EOF
		if f := strings.Fields(in.Text()); len(f) > 5 && f[1] == "FLOCK" && strings.HasSuffix(f[5], inode) {
			return f[4]
		}
	}
	return ""
}
