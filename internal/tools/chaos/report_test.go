package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAReportKeepsTheRowsOfOtherFaults(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "reliability.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("before $1\n<!-- seen -->\nold\n| `sigterm` | kept | then |\n| `saves` | old | then |\n| `no-such` | old | then |\n<!-- end -->\nafter\n")
	figures := &scene{fault: fault{name: "saves"}, figures: []string{"10 saves,\nnone lost", "$2 more"}, skipped: []string{"a disk needs root"}}
	if err := report(file, options{lasts: time.Minute, seed: 9, short: true}, []*scene{figures}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	for _, want := range []string{
		"before $1\n<!-- seen -->\nSeen on ", "| Fault | Seen | Run |\n| --- | --- | --- |\n| `saves` | 10 saves, none lost; $2 more; not tried: a disk needs root | ",
		", 1m0s, seed 9, short |\n| `sigterm` | kept | then |\n<!-- end -->\nafter\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the report lacks %q:\n%s", want, got)
		}
	}
	write("no marks\n")
	if err := report(file, options{}, nil); err == nil {
		t.Error("a file without marks is written")
	}
}

func TestASceneSaysWhetherItsPromisesHeld(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]*scene{
		"saves          held      1.5s  a; b\n":                                       {figures: []string{"a", "b"}},
		"saves          skipped   1.5s  \n    skipped: no root\n":                     {skipped: []string{"no root"}},
		"saves          BROKEN    1.5s  a\n    broken: x\n    the end of a log:\nL\n": {figures: []string{"a"}, broken: []string{"x"}, logs: []string{"L\n"}},
	} {
		s.name, s.took = "saves", 1500*time.Millisecond
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestProcessesAreFoundInProc(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc")
	}
	if pid := os.Getpid(); !alive(pid) || alive(1<<30) || resident(pid) < 1 || cpu(pid) < 0 || sizeOf(pid).threads < 1 || sizeOf(pid).files < 3 {
		t.Errorf("of this process is known: alive %v, %d MiB, %v, %+v", alive(pid), resident(pid), cpu(pid), sizeOf(pid))
	}
}
