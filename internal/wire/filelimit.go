package wire

import "syscall"

// reservedFiles is how many files are left for workers, their pipes and their logs
// where few may be opened. Without any worker some 20 are open, and if clients
// held all others no request of theirs could be sent on.
const reservedFiles = 48

// defaultMaxConnections is how many connections of clients the process can have: of the
// files that it may open a quarter is left, or the reserve if that is more, but
// never more than half. A request under way needs a second connection, but most
// wait.
func defaultMaxConnections() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1 << 10
	}
	return connectionShare(int(min(limit.Cur, 1<<24)))
}

// connectionShare is how many of so many files are for connections of clients.
func connectionShare(files int) int {
	return files - max(files/4, min(files/2, reservedFiles))
}
