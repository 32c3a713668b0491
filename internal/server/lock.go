package server

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// lockProject makes sure that no other server runs on the project. The lock
// is on the folder itself: it leaves nothing behind, and the kernel gives it
// back however the server ends.
func lockProject(root string) (*os.File, error) {
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
		return nil, fmt.Errorf("%s runs on %s already: stop it first", who, root)
	}
	return dir, nil // a file system without locks is no reason not to start
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
