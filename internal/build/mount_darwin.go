package build

import "syscall"

// noexec reports whether programs on the file system of a path must not be run.
func noexec(path string) bool {
	const mntNoexec = 4 // MNT_NOEXEC of statfs(2)
	var fs syscall.Statfs_t
	return syscall.Statfs(path, &fs) == nil && fs.Flags&mntNoexec != 0
}

// hasACL: lists of this system are kept apart from the bits of the mode.
func hasACL(string) bool { return false }
