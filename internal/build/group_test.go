package build

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// waitForGroup waits until no process of a group is alive. Who was killed may
// take a moment to die, and its remains wait for init.
func waitForGroup(pgid int) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-ticker.C {
		if syscall.Kill(-pgid, 0) == syscall.ESRCH {
			return nil
		}
		alive := living(pgid)
		if len(alive) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes are left: %v", alive)
		}
	}
}

// living returns what /proc says of a group's processes; where there is none,
// that some are left.
func living(pgid int) []string {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	if len(stats) == 0 {
		return []string{"?"}
	}
	var alive []string
	for _, file := range stats {
		text, _ := os.ReadFile(file)
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) > 2 && fields[2] == fmt.Sprint(pgid) && fields[0] != "Z" {
			alive = append(alive, string(text))
		}
	}
	return alive
}
