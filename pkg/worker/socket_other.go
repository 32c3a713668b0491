//go:build !linux || 386 || s390x || race

package worker

import "net"

// newSocketConn returns c: there is no better connection here.
func newSocketConn(c *net.UnixConn) (stream, error) { return c, nil }
