package process

import "time"

// Usage is the memory and processor time of a process.
type Usage struct {
	Memory int64         // bytes resident
	CPU    time.Duration // since its start, on all CPUs, in user and kernel mode
}
