package build

import "syscall"

// noexec reports whether programs on the file system of a path must not be run.
func noexec(path string) bool {
	const stNoexec = 8 // ST_NOEXEC of statvfs(3)
	var fs syscall.Statfs_t
	return syscall.Statfs(path, &fs) == nil && fs.Flags&stNoexec != 0
}

// hasACL reports whether others than owner, group and all have rights of their
// own (acl(5)): the group's bits are the most of them then.
func hasACL(path string) bool {
	n, err := syscall.Getxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}
