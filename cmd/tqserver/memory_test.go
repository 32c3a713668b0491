package main

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestGarbageIsCollectedSeldom looks at processes of their own, in which the heap was
// used before: the runtime would clear the ballast then.
func TestGarbageIsCollectedSeldom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	if os.Getenv("TQ_TEST_BALLAST") != "" {
		reportPace(t)
		return
	}
	t.Parallel()
	for set, want := range map[string]string{"": "20 MiB apart", "GOGC=100": "4 MiB apart", "GOMEMLIMIT=100MiB": "16 MiB apart"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestGarbageIsCollectedSeldom$", "-test.v")
		cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
			return strings.HasPrefix(kv, "GOGC=") || strings.HasPrefix(kv, "GOMEMLIMIT=")
		})
		cmd.Env = append(cmd.Env, "TQ_TEST_BALLAST=yes", set)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("with %q: %v, want %s in\n%s", set, err, want, out)
		}
	}
}

// reportPace tells how far collections are apart, rounded down to what there may be.
func reportPace(t *testing.T) {
	ended := make(chan int)
	go func() { ended <- deep(1000) }() // its stack comes back to the heap
	<-ended
	runtime.GC()
	before := ownMemory(t)
	ballast := setGarbageCollection()
	if more := ownMemory(t) - before; more > 8<<20 {
		t.Errorf("the ballast takes %d bytes", more)
	}
	runtime.GC()
	figures := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(figures)
	apart := figures[0].Value.Uint64() - figures[1].Value.Uint64()
	switch {
	case apart >= 20<<20 && apart < 24<<20:
		t.Log("20 MiB apart")
	case apart >= 12<<20 && apart <= 16<<20:
		t.Log("16 MiB apart")
	case apart <= 4<<20:
		t.Log("4 MiB apart")
	default:
		t.Errorf("collections are %d bytes apart", apart)
	}
	runtime.KeepAlive(ballast)
}

// deep needs a stack of 4 KiB for each step.
func deep(steps int) int {
	var room [4 << 10]byte
	if steps == 0 {
		return 0
	}
	room[steps%len(room)] = 1
	return deep(steps-1) + int(room[0])
}

// ownMemory is what this process has of the machine's, in bytes (proc(5),
// /proc/pid/statm).
func ownMemory(t *testing.T) int {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
