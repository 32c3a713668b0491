package process

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc/PID/stat (proc(5)): USER_HZ, 100 a second
// (HZ in include/uapi/asm-generic/param.h), whatever the kernel's own HZ is.
const tick = time.Second / 100

// ReadUsage returns what a process takes at this moment, without its children. It
// reads two files of /proc. The error is that of a missing file if there is no
// such process.
func ReadUsage(pid int) (Usage, error) {
	var room [2][1024]byte // a line of 52 numbers and a name of at most 64 bytes
	proc := "/proc/" + strconv.Itoa(pid)
	statm, err := readProcFile(proc+"/statm", room[0][:])
	if err != nil {
		return Usage{}, err
	}
	stat, err := readProcFile(proc+"/stat", room[1][:])
	if err != nil {
		return Usage{}, err
	}
	u, ok := parseUsage(statm, stat, os.Getpagesize())
	if !ok {
		return Usage{}, fmt.Errorf("%s: statm %q and stat %q are not as in proc(5)", proc, statm, stat)
	}
	return u, nil
}

// readProcFile reads a file of /proc, which comes whole in one read. It takes a third
// of the system calls of [os.ReadFile], which would be most of what an idle
// server does.
func readProcFile(path string, room []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, room)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return room[:n], nil
}

// parseUsage reads the second number of statm, and the fields 14 and 15 of
// stat (proc(5)). The second of those, the name, stands in brackets and may
// hold anything, brackets and spaces included.
func parseUsage(statm, stat []byte, pageSize int) (u Usage, ok bool) {
	sizes := bytes.Fields(statm)
	times := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from field 3 on
	if len(sizes) < 2 || len(times) < 13 {
		return Usage{}, false
	}
	pages, err := strconv.ParseInt(string(sizes[1]), 10, 64)
	if err != nil {
		return Usage{}, false
	}
	u.Memory = pages * int64(pageSize)
	for _, field := range times[11:13] {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return Usage{}, false
		}
		u.CPU += time.Duration(ticks) * tick
	}
	return u, true
}
