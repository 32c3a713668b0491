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

// ReadUsage returns the present usage of a process, without its children. If there is
// no such process, the error is that of reading its files in /proc.
func ReadUsage(pid int) (Usage, error) {
	var buf [2][1024]byte // a line of 52 numbers and a name of at most 64 bytes
	proc := "/proc/" + strconv.Itoa(pid)
	statm, err := readProcFile(proc+"/statm", buf[0][:])
	if err != nil {
		return Usage{}, err
	}
	stat, err := readProcFile(proc+"/stat", buf[1][:])
	if err != nil {
		return Usage{}, err
	}
	u, ok := parseUsage(statm, stat, os.Getpagesize())
	if !ok {
		return Usage{}, fmt.Errorf("%s: statm %q and stat %q are not as in proc(5)", proc, statm, stat)
	}
	return u, nil
}

// readProcFile reads a file of /proc with a single read into buf. It needs a third of
// the system calls of [os.ReadFile], and an idle server does little else.
func readProcFile(path string, buf []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return buf[:n], nil
}

// parseUsage parses the second number of statm, and fields 14 and 15 of stat
// (proc(5)). Field 2 of stat, the name, is in brackets and may contain any
// character, brackets and spaces included.
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
