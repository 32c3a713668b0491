package main

import (
	"os/exec"
	"syscall"
)

// contained is a command that is the first process of a namespace.
func contained(path string, args []string) *exec.Cmd {
	const alone = `mount --make-rprivate / && mount -t proc proc /proc && exec "$0" "$@"`
	cmd := exec.Command("sh", append([]string{"-c", alone, path}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	return cmd
}
