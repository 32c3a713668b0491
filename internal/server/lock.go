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

// projectLock is the lock on the project's folder. The folder is found by its path, so
// a new release that replaces it is the project then.
type projectLock struct {
	root string
	dir  *os.File // the locked folder
}

// lockProject makes sure that no other server runs on the project. It locks the folder
// itself: no file is left behind, and the kernel releases the lock however the server
// ends.
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
	return &projectLock{root, dir}, nil // a file system without locks must not keep the server from starting
}

func (p *projectLock) Close() error { return p.dir.Close() }

// followRoot reports whether the path leads to another folder than before. If so, it
// locks that folder, and moves the working directory there if it was in the old one.
func (p *projectLock) followRoot(publish func(state.Level, string, ...state.Attr)) (moved bool) {
	before, err := p.dir.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(p.root)
	if err != nil || os.SameFile(before, now) {
		return false // no folder, or the same
	}
	next, err := lockProject(p.root)
	if err != nil {
		publish(state.LevelError, "the project's folder was replaced, and the new one cannot be used", state.String("dir", p.root), state.String("err", err.Error()))
		return false
	}
	if here, err := os.Stat("."); err == nil && os.SameFile(here, before) {
		os.Chdir(p.root) // an error means that it has just vanished again
	}
	p.dir.Close()
	p.dir = next.dir
	publish(state.LevelInfo, "the project's folder was replaced: building its pages and restarting all workers", state.String("dir", p.root))
	return true
}

// lockHolder returns the process that holds the lock, or nothing if the kernel does not
// say (proc(5), /proc/locks).
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
