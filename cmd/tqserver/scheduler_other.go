//go:build !linux

package main

// takeTurns does nothing: there is no such policy here.
func takeTurns() {}
