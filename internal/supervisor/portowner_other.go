//go:build !linux

package supervisor

// ownsPort is not supported here, and reports true: the port was free just before the
// worker was started.
func ownsPort(pid, port int) bool { return true }
