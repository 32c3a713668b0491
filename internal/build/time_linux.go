package build

import (
	"syscall"
	"time"
)

func statTime(s *syscall.Stat_t) time.Time { return time.Unix(s.Ctim.Unix()) }
