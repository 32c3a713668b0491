package process

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"runtime/debug"
	"syscall"
	"testing"
	"time"
)

func TestUsageIsReadAsTheKernelWritesIt(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15"
	for _, tt := range []struct {
		statm, stat string
		want        Usage
		ok          bool
	}{
		{"100 20 3 4 5 6 7\n", "7 (page)" + rest, Usage{20 * 4096, 3 * time.Second}, true},
		{"100 20 3 4 5 6 7\n", "7 (a) R 1 (b (c)" + rest, Usage{20 * 4096, 3 * time.Second}, true},
		{"100 20", "7 (a\n)" + rest, Usage{20 * 4096, 3 * time.Second}, true},
		{"100", "7 (page)" + rest, Usage{}, false},
		{"100 x", "7 (page)" + rest, Usage{}, false},
		{"100 20", "7 (page) S 1 2 3 4 5 6 7 8 9 10 x 50", Usage{}, false},
		{"100 20", "7 (page) S 1 2 3 4 5 6 7 8 9 10 250", Usage{}, false},
		{"", "", Usage{}, false},
	} {
		if got, ok := parseUsage([]byte(tt.statm), []byte(tt.stat), 4096); got != tt.want || ok != tt.ok {
			t.Errorf("%q and %q: %+v, %v", tt.statm, tt.stat, got, ok)
		}
	}
}

func TestASampleIsOfTheProcess(t *testing.T) {
	debug.FreeOSMemory() // what others have left would be given back meanwhile
	before, err := ReadUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	ballast, err := syscall.Mmap(-1, 0, 64<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(ballast)
	var spent time.Duration
	for i := 0; spent < 200*time.Millisecond; i++ {
		ballast[i*4096%len(ballast)]++
		spent = ownCPU(t) - before.CPU
	}
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i]++
	}
	after, err := ReadUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after.Memory - before.Memory; grown < 48<<20 || grown > 256<<20 {
		t.Errorf("it grew by %d bytes", grown)
	}
	if off := math.Abs(float64(after.CPU - ownCPU(t))); off > float64(150*time.Millisecond) {
		t.Errorf("it has taken %v of the CPU, getrusage says %v", after.CPU, ownCPU(t))
	}
}

// ownCPU is what getrusage(2) says of this process.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestWhatIsNoProcessHasNoSample(t *testing.T) {
	if _, err := ReadUsage(1 << 30); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkSample(b *testing.B) {
	pid := os.Getpid()
	for b.Loop() {
		if _, err := ReadUsage(pid); err != nil {
			b.Fatal(err)
		}
	}
}
