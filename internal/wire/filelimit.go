package wire

import "syscall"

// reservedFiles is the number of files left for workers, their pipes and their logs
// if the process may open only few. About 20 are open without any worker. If
// clients held all others, no request could be forwarded.
const reservedFiles = 48

// defaultMaxConnections is how many connections of clients the process can have. It
// leaves a quarter of the files that the process may open, or reservedFiles if that
// is more, but never more than half. A request that is forwarded needs a second
// connection, but most connections wait.
func defaultMaxConnections() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1 << 10
	}
	return connectionShare(int(min(limit.Cur, 1<<24)))
}

// connectionShare returns how many of these files are for connections of clients.
func connectionShare(files int) int {
	return files - max(files/4, min(files/2, reservedFiles))
}
