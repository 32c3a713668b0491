package process

import "time"

// Usage is what a process takes.
type Usage struct {
	Memory int64         // bytes resident
	CPU    time.Duration // on all CPUs since it was started, its own and the kernel's for it
}
