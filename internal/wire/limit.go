package wire

import "syscall"

// affordable is how many connections of clients the process can have: of the
// files that it may open a quarter is left for workers, their pipes and their
// logs. A request under way needs a second connection, but most wait.
func affordable() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1 << 10
	}
	files := min(limit.Cur, 1<<24)
	return int(files - files/4)
}
