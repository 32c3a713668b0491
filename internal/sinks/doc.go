// Package sinks holds the readers of the state that write lines: the server's log
// file, and plain lines for a server without a screen.
//
// A sink reads on the goroutine of its caller until its context ends, and never
// delays who publishes.
package sinks
