//go:build !linux

package main

import "os/exec"

// contained is an ordinary command: there are no namespaces.
func contained(path string, args []string) *exec.Cmd { return exec.Command(path, args...) }
