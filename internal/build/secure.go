package build

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// secureDir makes dir, or refuses it if somebody else could put a program there
// that would be run, or if no program can be run there. It returns dir without
// links, which somebody else could change later.
func secureDir(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("workers.temp_dir: %w; use a folder that you may write to", err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("workers.temp_dir: %w", err)
	}
	if noexec(real) {
		return "", fmt.Errorf("workers.temp_dir: %s lies on a file system that is mounted noexec, where no worker can be run: use a folder elsewhere, or mount it without noexec", dir)
	}
	return real, insecure(real)
}

// CheckFolder returns an error if somebody else could have put a program into the
// folder of binaries. Call it before running anything in there.
func (b *Builder) CheckFolder() error { return insecure(b.temp) }

// insecure returns an error if somebody besides the user could put a program into
// dir, a path without links.
func insecure(dir string) error {
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			continue // there is nothing to run
		}
		if err != nil {
			return fmt.Errorf("workers.temp_dir: %w", err)
		}
		if reason := exposure(at, dir, info); reason != "" {
			return fmt.Errorf("workers.temp_dir: %s %s; tqserver executes what is in it, so use a folder of your own", dir, reason)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// exposure returns what is wrong with dir because of at, which is dir or a folder
// above it.
func exposure(at, dir string, info fs.FileInfo) string {
	stat := info.Sys().(*syscall.Stat_t)
	owner, mode := int(stat.Uid), info.Mode()
	switch {
	case mode&fs.ModeSymlink != 0:
		return fmt.Sprintf("is reached through %s, which became a link", at)
	case at == dir && owner != os.Getuid():
		return fmt.Sprintf("belongs to user %d, not to you (%d)", owner, os.Getuid())
	case at == dir && mode.Perm()&0o022 != 0:
		return fmt.Sprintf("may be written to by others (mode %04o): chmod 0700 it", mode.Perm())
	case owner != os.Getuid() && owner != 0:
		return fmt.Sprintf("lies in %s, which belongs to user %d", at, owner)
	case mode&fs.ModeSticky != 0: // only owners can rename what lies there
		return ""
	case mode.Perm()&0o002 != 0:
		return fmt.Sprintf("lies in %s, which everybody may write to", at)
	case mode.Perm()&0o020 != 0 && hasACL(at):
		return fmt.Sprintf("lies in %s, which an access control list lets others write to", at)
	case mode.Perm()&0o020 != 0 && !isOwnGroup(stat.Gid):
		return fmt.Sprintf("lies in %s, which the group %s may write to: chmod g-w it", at, groupName(stat.Gid))
	}
	return ""
}

// isOwnGroup reports whether nobody but the user is in a group: many systems have
// such a group for each user.
func isOwnGroup(gid uint32) bool {
	return int(gid) == os.Getgid() && isAloneInGroup(os.Getuid(), int(gid), "/etc/passwd", "/etc/group")
}

// isAloneInGroup reports whether nobody but a user is in a group, according to the
// system's files. A group that they do not contain counts as shared, unless it has
// the user's number.
func isAloneInGroup(uid, gid int, passwd, group string) bool {
	me, id := strconv.Itoa(uid), strconv.Itoa(gid)
	name, known := "", false
	for _, f := range readRecords(passwd) { // name:password:user:group (passwd(5))
		switch {
		case f[2] == me:
			name = f[0]
		case f[3] == id:
			return false
		}
	}
	for _, f := range readRecords(group) { // name:password:group:members (group(5))
		if f[2] != id {
			continue
		}
		known = true
		for member := range strings.SplitSeq(f[3], ",") {
			if member != "" && member != name {
				return false
			}
		}
	}
	return known || uid == gid
}

func groupName(gid uint32) string {
	id := strconv.Itoa(int(gid))
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

// readRecords returns the fields of the lines of passwd or group.
func readRecords(file string) (all [][]string) {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Split(lines.Text(), ":"); len(fields) >= 4 {
			all = append(all, fields)
		}
	}
	return all
}
