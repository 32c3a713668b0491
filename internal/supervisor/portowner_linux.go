package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ownsPort reports whether a process, or another one of its process group, holds the
// socket that listens on a port (proc(5): /proc/net/tcp, state 0A is LISTEN).
func ownsPort(pid, port int) bool {
	sockets := make(map[string]bool)
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue
		}
		suffix := fmt.Sprintf(":%04X", port)
		for line := range bytes.Lines(text) {
			if f := strings.Fields(string(line)); len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], suffix) {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(sockets) == 0 {
		return false
	}
	if holdsSocket(pid, sockets) {
		return true
	}
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		if member, _ := strconv.Atoi(filepath.Base(proc)); member != pid && processGroup(proc) == pid && holdsSocket(member, sockets) {
			return true
		}
	}
	return false
}

func holdsSocket(pid int, sockets map[string]bool) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && sockets[target] {
			return true
		}
	}
	return false
}

// processGroup returns the process group of /proc/PID, or 0: the third field after the
// name, which is in brackets and may contain any character.
func processGroup(proc string) int {
	stat, err := os.ReadFile(proc + "/stat")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 3 {
		return 0
	}
	pgid, _ := strconv.Atoi(f[2])
	return pgid
}
