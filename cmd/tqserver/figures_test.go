package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var figures = flag.Bool("figures", false, "measure, which takes minutes and a machine with nothing else to do")

// TestFigures measures what is promised, with the commands of TestScripts and
//
//	started LIMIT          time from the shell's command to the first frame
//	flooded PATH DURATION  a page prints as fast as it can: keys, memory, lines
//	idle DURATION          what the screen costs while nothing happens
//	reloaded DIR N         time from a save to the new answer, beside a plain go build
func TestFigures(t *testing.T) {
	if !*figures {
		t.Skip("run by make figures")
	}
	commands := scriptCommands()
	commands["started"], commands["flooded"], commands["idle"], commands["reloaded"] = started, flooded, idle, reloaded
	testscript.Run(t, testscript.Params{Dir: "testdata/figures", Setup: setup, Cmds: commands})
}

func started(ts *testscript.TestScript, neg bool, args []string) {
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	w := of(ts)
	var all []time.Duration
	for range 7 {
		openScreen(ts, true, []string{"120x35"})
		began := time.Now()
		for shown := ""; !strings.Contains(shown, "Routes"); {
			shown, _ = w.tmux(ts, "capture-pane", "-p", "-t", ":")
		}
		all = append(all, time.Since(began))
		w.see(ts, "serving", false)
		pressKeys(ts, false, []string{"q"})
		closed(ts, false, []string{"0"})
	}
	took := median(all)
	ts.Logf("first frame after %v (what tmux takes to show it included)", took)
	if took > limit {
		ts.Fatalf("longer than %v", limit)
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2].Round(100 * time.Microsecond)
}

func flooded(ts *testscript.TestScript, neg bool, args []string) {
	duration, err := time.ParseDuration(args[1])
	ts.Check(err)
	w := of(ts)
	fileRate, err := w.get(args[0] + "?to=file&for=" + args[1])
	ts.Check(err)
	before := resident(ts)
	begin(ts, false, []string{args[0] + "?to=stdout&for=" + args[1]})
	var lags []time.Duration
	for began := time.Now(); time.Since(began) < duration-time.Second; <-time.After(300 * time.Millisecond) {
		// t turns the time at the beginning of each line off and on.
		pressed := time.Now()
		pressKeys(ts, false, []string{"t"})
		w.see(ts, []string{`^ line`, `^ \d\d:`}[len(lags)%2], false)
		lags = append(lags, time.Since(pressed))
	}
	rate := <-w.begun
	slices.Sort(lags)
	grown := resident(ts) - before
	ts.Logf("lines a second: %s to its stdout, %s to a file; keys answered after %v at most, %v in the median; the server grew by %d KiB", rate[4:], fileRate[4:], lags[len(lags)-1].Round(time.Millisecond), median(lags), grown)
	if lags[len(lags)-1] > 150*time.Millisecond || grown > 50<<10 {
		ts.Fatalf("that is too much")
	}
	if number(ts, rate) < 0.9*number(ts, fileRate) {
		ts.Fatalf("the worker was slowed")
	}
}

func number(ts *testscript.TestScript, answer string) float64 {
	n, err := strconv.ParseFloat(strings.Fields(answer)[1], 64)
	ts.Check(err)
	return n
}

// resident is the server's memory in KiB.
func resident(ts *testscript.TestScript) int { return memoryOf(ts, ts.Getenv("SERVER")) }

func memoryOf(ts *testscript.TestScript, pid string) int {
	for line := range strings.Lines(ts.ReadFile(filepath.Join("/proc", pid, "status"))) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(kib)[0])
			ts.Check(err)
			return n
		}
	}
	ts.Fatalf("no VmRSS")
	return 0
}

func idle(ts *testscript.TestScript, neg bool, args []string) {
	duration, err := time.ParseDuration(args[0])
	ts.Check(err)
	w := of(ts)
	written := ts.MkAbs("written")
	_, err = w.tmux(ts, "pipe-pane", "-t", ":", "cat >"+written)
	ts.Check(err)
	<-time.After(time.Second)
	before := cpuTime(ts)
	<-time.After(duration)
	share := 100 * float64(cpuTime(ts)-before) / float64(duration)
	bytes := len(ts.ReadFile(written))
	ts.Logf("%s idle: %.2f %% of a core, %d bytes to the terminal", args[0], share, bytes)
	if share >= 1 || bytes > 0 {
		ts.Fatalf("that is too much")
	}
}

// cpuTime is what all threads of the server have run (proc(5), schedstat).
func cpuTime(ts *testscript.TestScript) (ns int64) {
	threads, _ := filepath.Glob(filepath.Join("/proc", ts.Getenv("SERVER"), "task/*/schedstat"))
	for _, file := range threads {
		text, _ := os.ReadFile(file)
		n, _ := strconv.ParseInt(strings.Fields(string(text) + " 0")[0], 10, 64)
		ns += n
	}
	return ns
}

func reloaded(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	w := of(ts)
	beside := filepath.Join(ts.MkAbs("beside"), "x")
	var reloads, builds []time.Duration
	for i := range n {
		text := fmt.Sprintf("version-%d", i)
		saved := time.Now()
		savePage(ts, false, []string{args[0], text})
		for answer := ""; !strings.Contains(answer, text+" "); <-time.After(2 * time.Millisecond) {
			answer, err = w.get("/")
			ts.Check(err)
		}
		reloads = append(reloads, time.Since(saved))
		w.until(ts, "the old worker is gone", func() error { return wantWorkers(ts, 1) })

		savePage(ts, false, []string{beside, "plain-" + text})
		cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", ts.MkAbs("plain"), ".")
		cmd.Dir = beside
		cmd.Env = append(os.Environ(), "GOCACHE="+ts.Getenv("GOCACHE"))
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			ts.Fatalf("go build: %v: %s", err, out)
		}
		builds = append(builds, time.Since(began))
	}
	reload, build := median(reloads), median(builds)
	ts.Logf("save to new answer: %v, go build alone: %v, ratio %.2f (medians of %d)", reload, build, float64(reload)/float64(build), n)
}
