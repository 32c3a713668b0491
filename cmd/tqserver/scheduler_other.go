//go:build !linux

package main

// setBatchScheduling does nothing: there is no such policy here.
func setBatchScheduling() {}
