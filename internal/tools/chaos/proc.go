package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tqserver/internal/project"
)

// pids returns all processes.
func pids() (all []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

func link(pid int, name string) string {
	to, _ := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
	return to
}

// name returns the command line of a process.
func name(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return string(bytes.TrimSpace(bytes.ReplaceAll(text, []byte{0}, []byte{' '})))
}

// processes returns the processes that run in a project, except the server: workers,
// their children, and builds.
func (p *sceneProject) processes() []int {
	return slices.DeleteFunc(pids(), func(pid int) bool {
		return !project.Contains(p.Dir, link(pid, "cwd")) || link(pid, "exe") == p.Program
	})
}

// workers returns the processes that run a page.
func (p *sceneProject) workers() []int {
	return slices.DeleteFunc(pids(), func(pid int) bool {
		return !project.Contains(filepath.Join(p.Dir, "bin"), strings.TrimSuffix(link(pid, "exe"), " (deleted)"))
	})
}

// stat returns fields of /proc/PID/stat from the third, the state, on (proc(5)).
func stat(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

// alive reports whether a process runs, which a zombie does not.
func alive(pid int) bool {
	fields := stat(pid)
	return len(fields) > 0 && fields[0] != "Z"
}

// descendants returns the children of a process, and theirs.
func descendants(pid int) (all []int) {
	children := make(map[int][]int)
	for _, child := range pids() {
		if fields := stat(child); len(fields) > 1 {
			parent, _ := strconv.Atoi(fields[1])
			children[parent] = append(children[parent], child)
		}
	}
	for next := children[pid]; len(next) > 0; next = next[1:] {
		all = append(all, next[0])
		next = append(next, children[next[0]]...)
	}
	return all
}

// cpu returns the processor time of a process.
func cpu(pid int) time.Duration {
	fields := stat(pid)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * (time.Second / 100)
}

// resident returns the memory of a process in MiB.
func resident(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return pages * os.Getpagesize() >> 20
}

// watches returns how many folders a process watches.
func watches(pid int) (n int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		n += strings.Count(string(text), "inotify wd:")
	}
	return n
}

// listeners returns how many ports of a range have a listener (proc(5),
// /proc/net/tcp).
func (p *sceneProject) listeners(ports int) (n int) {
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != "0A" {
				continue
			}
			_, digits, _ := strings.Cut(fields[1], ":")
			port, _ := strconv.ParseInt(digits, 16, 32)
			if int(port) >= p.FirstPort && int(port) < p.FirstPort+ports {
				n++
			}
		}
	}
	return n
}

// size is the resources of a process.
type size struct{ files, threads, mib int }

func sizeOf(pid int) size {
	files, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return size{len(files), len(threads), resident(pid)}
}
