package process

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// The test binary plays the children: TQ_TEST_ROLE says which.
func TestMain(m *testing.M) {
	if RunGuardian() {
		return
	}
	if code, is := RunInit(); is {
		os.Exit(code)
	}
	if role, ok := roles[os.Getenv("TQ_TEST_ROLE")]; ok {
		role()
		return
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or every child sleeps for a second at its end
	goleak.VerifyTestMain(m)
}

var roles = map[string]func(){
	"first process's child": runAsServer,
	"exit 3":                func() { os.Exit(3) },
	"killed":                func() { syscall.Kill(os.Getpid(), syscall.SIGKILL); waitForever() },
	"stops":                 func() { syscall.Kill(os.Getpid(), syscall.SIGSTOP); fmt.Println("going on") },
	"print": func() {
		fmt.Println("one")
		fmt.Fprintln(os.Stderr, "two")
		fmt.Print("three without an end")
	},
	"long line": func() {
		os.Stdout.Write(bytes.Repeat([]byte("x"), 200_000))
		fmt.Println("\nshort")
	},
	"flood": func() {
		out := bufio.NewWriter(os.Stdout)
		for i := range 100_000 {
			fmt.Fprintln(out, "line", i)
		}
		out.Flush()
	},
	"ready": func() { report("r"); waitForever() },
	"taken": func() { report("x"); os.Exit(1) },
	"sleep": waitForever,
	"stubborn": func() {
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("deaf")
		waitForever()
	},
	"family": func() { // a child that holds our output, in our group
		fmt.Println(startSelf("sleep", os.Stdout))
	},
	"estranged": func() { // a child that holds our output and left the group
		cmd := exec.Command(os.Args[0])
		cmd.Env = environ("sleep")
		cmd.Stdout = os.Stdout
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it has left when Start returns
		cmd.Start()
		fmt.Println(cmd.Process.Pid)
	},
	"server": func() { // a server with a worker that has a child
		parent, err := NewParent()
		if err != nil {
			panic(err)
		}
		proc, err := parent.Start(Spec{Path: os.Args[0], Env: environ("parent of one"), Output: func(_ int, _ bool, b []byte) { os.Stdout.Write(b) }})
		if err != nil {
			panic(err)
		}
		fmt.Println(proc.PID)
		fmt.Println(parent.guardian.proc.Pid)
		waitForever()
	},
	"short of descriptors": func() { // when the guardian dies
		parent, err := NewParent()
		if err != nil {
			panic(err)
		}
		first := parent.guardian.process()
		var limit syscall.Rlimit
		syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: limit.Max})
		first.Kill()
		<-time.After(100 * time.Millisecond)
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		for parent.guardian.process() == first {
			<-time.After(time.Millisecond)
		}
		fmt.Println("guarded")
	},
	"parent of one": func() { fmt.Println(startSelf("sleep", nil)); waitForever() },
}

// timeout is what a test waits for what must come.
const timeout = 30 * time.Second

func report(what string) {
	fd, _ := strconv.Atoi(os.Getenv("TQ_READY_FD"))
	os.NewFile(uintptr(fd), "ready").WriteString(what)
}

func waitForever() {
	os.Stdin = nil
	for {
		<-time.After(time.Hour)
	}
}

func startSelf(role string, out *os.File) int {
	cmd := exec.Command(os.Args[0])
	cmd.Env = environ(role)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	return cmd.Process.Pid
}

func environ(role string) []string { return append(os.Environ(), "TQ_TEST_ROLE="+role) }

// recorder collects what a process prints.
type recorder struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func (o *recorder) add(_ int, stderr bool, b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for line := range strings.Lines(string(b)) {
		if stderr {
			line = "! " + line
		}
		o.lines = append(o.lines, line)
	}
	select {
	case o.more <- struct{}{}:
	default:
	}
}

func (o *recorder) firstLine(t *testing.T) string {
	t.Helper()
	select {
	case <-o.more:
	case <-time.After(timeout):
		t.Fatal("the process prints nothing")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(o.lines[0])
}

func newParent(t *testing.T) *Parent {
	t.Helper()
	p, err := NewParent()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func startRole(t *testing.T, p *Parent, role string) (*Process, *recorder) {
	t.Helper()
	out := &recorder{more: make(chan struct{}, 1)}
	proc, err := p.Start(Spec{Path: os.Args[0], Env: environ(role), Output: out.add})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.Stop(context.Background(), 0) })
	return proc, out
}

func waitFor(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(timeout):
		t.Fatalf("waited %v for %s", timeout, what)
	}
}

// waitGone waits until a process that is not our child has ended, for a second, and
// for what this machine is slow at: of that each look tells.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	began := time.Now()
	for last, slowest := began, time.Duration(0); ; <-time.After(2 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil && syscall.Kill(pid, 0) != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
		slowest = max(slowest, time.Since(last))
		last = time.Now()
		if took := last.Sub(began); took > time.Second+10*slowest {
			t.Fatalf("process %d still lives after %v, and no look took more than %v", pid, took, slowest)
		}
	}
}

func TestOutputComesInWholeLinesOfBothStreams(t *testing.T) {
	proc, out := startRole(t, newParent(t), "print")
	waitFor(t, "the end", proc.Done())
	want := map[string]int{"one\n": 1, "! two\n": 1, "three without an end\n": 1}
	got := make(map[string]int)
	for _, l := range out.lines {
		got[l]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if proc.Exit().Status != "exit status 0" {
		t.Errorf("it ended by %q", proc.Exit().Status)
	}
}

func TestALongLineComesInPieces(t *testing.T) {
	proc, out := startRole(t, newParent(t), "long line")
	waitFor(t, "the end", proc.Done())
	total := 0
	for _, l := range out.lines[:len(out.lines)-1] {
		if len(l) > maxLine {
			t.Errorf("a piece has %d bytes", len(l))
		}
		total += strings.Count(l, "x")
	}
	if last := out.lines[len(out.lines)-1]; total != 200_000 || last != "short\n" {
		t.Errorf("%d bytes came, then %q", total, last)
	}
}

func TestNoLineIsLostInAFlood(t *testing.T) {
	proc, out := startRole(t, newParent(t), "flood")
	waitFor(t, "the end", proc.Done())
	if len(out.lines) != 100_000 {
		t.Fatalf("%d lines came", len(out.lines))
	}
	for i, l := range out.lines {
		if want := fmt.Sprintf("line %d\n", i); l != want {
			t.Fatalf("line %d is %q", i, l)
		}
	}
}

func TestAFloodIsReadAtAPace(t *testing.T) {
	flood := strings.Repeat(strings.Repeat("x", 99)+"\n", 4*maxRate/100)
	for size, want := range map[int]time.Duration{len(flood): 4 * time.Second, 30_000: 0} {
		synctest.Test(t, func(t *testing.T) {
			began, got := time.Now(), 0
			p := pipe{file: untimed{strings.NewReader(flood[:size])}}
			p.readLines(func(b []byte) { got += len(b) }, func([]byte) {})
			if took := time.Since(began); got != size || took < want-100*time.Millisecond || took > want+100*time.Millisecond {
				t.Errorf("%d of %d bytes were read in %v, want %v", got, size, took, want)
			}
		})
	}
}

func TestReadyIsHeard(t *testing.T) {
	proc, _ := startRole(t, newParent(t), "ready")
	waitFor(t, "readiness", proc.Ready())
}

func TestATakenPortIsHeard(t *testing.T) {
	proc, _ := startRole(t, newParent(t), "taken")
	waitFor(t, "the end", proc.Done())
	if !proc.Exit().PortTaken {
		t.Error("the worker said so and was not heard")
	}
}

func TestStopKillsWhoDoesNotListen(t *testing.T) {
	proc, out := startRole(t, newParent(t), "stubborn")
	out.firstLine(t)
	began := time.Now()
	proc.Stop(t.Context(), 50*time.Millisecond)
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	if proc.Exit().Status != "signal: killed" {
		t.Errorf("it ended by %q", proc.Exit().Status)
	}
}

func TestStopEndsWhoListensBeforeTheGraceIsOver(t *testing.T) {
	proc, _ := startRole(t, newParent(t), "ready")
	waitFor(t, "readiness", proc.Ready())
	proc.Stop(t.Context(), time.Hour)
	if proc.Exit().Status != "signal: terminated" {
		t.Errorf("it ended by %q", proc.Exit().Status)
	}
}

func TestAChildThatHoldsTheOutputEndsWithItsParent(t *testing.T) {
	proc, out := startRole(t, newParent(t), "family")
	pid, _ := strconv.Atoi(out.firstLine(t))
	waitFor(t, "the end", proc.Done())
	waitGone(t, pid)
}

func TestAChildThatLeftTheGroupDoesNotHoldUpTheEnd(t *testing.T) {
	proc, out := startRole(t, newParent(t), "estranged")
	pid, _ := strconv.Atoi(out.firstLine(t))
	waitFor(t, "the end", proc.Done())
	if syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Error("a child that left the group on purpose was ended")
	}
}

func TestNothingOutlivesTheServer(t *testing.T) {
	for _, victims := range []string{"server", "server and guardian"} {
		t.Run(victims, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = environ("server")
			out, _ := cmd.StdoutPipe()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var pids [3]int // worker, guardian and worker's child, the last at any place
			lines := bufio.NewScanner(out)
			for i := range pids {
				lines.Scan()
				pids[i], _ = strconv.Atoi(lines.Text())
			}
			if victims != "server" { // only the death signal is left: the worker ends, its child cannot be known
				for _, pid := range pids {
					if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); bytes.HasPrefix(name, []byte(guardianName)) {
						syscall.Kill(cmd.Process.Pid, syscall.SIGSTOP)
						syscall.Kill(pid, syscall.SIGKILL)
					}
				}
			}
			cmd.Process.Kill()
			cmd.Wait()
			left := len(pids)
			for _, pid := range pids {
				name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
				if victims != "server" && bytes.Contains(name, []byte("TQ_TEST_ROLE=sleep")) {
					syscall.Kill(pid, syscall.SIGKILL)
				}
				waitGone(t, pid)
				left--
			}
			if left != 0 {
				t.Errorf("%d are left", left)
			}
		})
	}
}

func TestAGuardianThatDiesIsReplaced(t *testing.T) {
	p := newParent(t)
	proc, _ := startRole(t, p, "ready")
	waitFor(t, "readiness", proc.Ready())
	p.guardian.mu.Lock()
	first := p.guardian.proc
	p.guardian.mu.Unlock()
	first.Kill()
	for deadline := time.Now().Add(timeout); ; <-time.After(time.Millisecond) {
		p.guardian.mu.Lock()
		now, groups := p.guardian.proc, len(p.guardian.groups)
		p.guardian.mu.Unlock()
		if now != first {
			if groups != 1 {
				t.Errorf("it guards %d groups", groups)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is none after %v", timeout)
		}
	}
}

func TestAGuardianIsReplacedWhenThereAreDescriptorsAgain(t *testing.T) {
	proc, out := startRole(t, newParent(t), "short of descriptors")
	if said := out.firstLine(t); said != "guarded" {
		t.Errorf("it said %q", said)
	}
	waitFor(t, "the end", proc.Done())
}

func TestTheGuardianForgetsWhatItIsTold(t *testing.T) {
	got := readGuarded(strings.NewReader("+100\n+200\n-100\n\nterminal 0a /dev/pts/1\n+x\n+1\n+0\n+-5\nterminal 0b /dev/pts/2\n+300\npanic: oh\n\ngoroutine 1"))
	want := guarded{groups: map[int]bool{200: true, 300: true}, terminal: "0b /dev/pts/2", crashOutput: []string{"", "+x", "+1", "+0", "+-5", "panic: oh", "", "goroutine 1"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(guarded{})); diff != "" {
		t.Error(diff)
	}
}

func TestNoDescriptorIsLeftBehind(t *testing.T) {
	p := newParent(t)
	count := func() int {
		fds, err := filepath.Glob("/proc/self/fd/*")
		if err != nil || len(fds) == 0 {
			t.Skip("no /proc")
		}
		return len(fds)
	}
	proc, _ := startRole(t, p, "print")
	waitFor(t, "the end", proc.Done())
	before := count()
	for range 20 {
		proc, _ := startRole(t, p, "print")
		waitFor(t, "the end", proc.Done())
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestABinaryThatIsMissingIsAnErrorThatNamesIt(t *testing.T) {
	_, err := newParent(t).Start(Spec{Path: "/nowhere/at/all", Output: func(int, bool, []byte) {}})
	if err == nil || !strings.Contains(err.Error(), "/nowhere/at/all") {
		t.Errorf("got %v", err)
	}
}

func FuzzReadLines(f *testing.F) {
	f.Add([]byte("a\nb"), 3)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		var got []byte
		p := pipe{file: untimed{&stepReader{data: data, step: max(1, step%5000)}}}
		p.readLines(func(b []byte) {
			if len(b) == 0 || len(b) > maxLine || b[len(b)-1] != '\n' {
				t.Fatalf("handed %d bytes", len(b))
			}
			got = append(got, b...)
		}, func([]byte) {})
		if len(data) < 1000 {
			want := string(data)
			if want != "" && !strings.HasSuffix(want, "\n") {
				want += "\n"
			}
			if string(got) != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}

// untimed is a reader that never waits.
type untimed struct{ io.Reader }

func (untimed) SetReadDeadline(time.Time) error { return nil }

type stepReader struct {
	data []byte
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.data[:min(r.step, len(r.data))])
	r.data = r.data[n:]
	return n, nil
}
