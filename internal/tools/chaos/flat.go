package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// flat: what a server takes does not grow with reloads and load.
func flat(s *scene) {
	var trace bytes.Buffer
	p := s.project(quickDrain)
	p.start([]string{"/"}, func(cmd *exec.Cmd) { cmd.Stderr = &trace })
	p.load = p.newLoad("/")
	edit := 1
	reload := func(n int) {
		for range n {
			edit++
			p.page("/", edit, "")
			p.awaitEdit("/", edit, 20*time.Second)
		}
	}
	rest := func() size { // when the last worker has drained
		s.pause(6 * time.Second)
		return sizeOf(p.PID())
	}
	reload(10)
	before := rest()
	n := s.count(1000, 15)
	began := time.Now()
	reload(n)
	if left := s.lasts - time.Since(began); left > 0 {
		s.pause(left)
	}
	after := rest()
	s.want(after.files <= before.files+2, "%d files are open, which were %d", after.files, before.files)
	s.want(after.threads <= before.threads+3, "there are %d threads, which were %d", after.threads, before.threads)
	s.want(after.mib <= before.mib+s.count(16, 12), "the server has %d MiB, and had %d", after.mib, before.mib)
	p.load.check(nil)
	s.pause(3 * time.Second)
	p.Signal(syscall.SIGQUIT) // the runtime writes down all goroutines
	p.Ended(s.ctx)
	goroutines := strings.Count(trace.String(), "\ngoroutine ")
	s.want(goroutines > 5 && goroutines < 60, "there are %d goroutines at rest", goroutines)
	s.await(2*time.Second, "workers end with the server", func() bool { return len(p.processes()) == 0 })
	succeeded, failed := p.load.counts()
	s.figure("%d reloads in %v under load: files %d → %d, threads %d → %d, memory %d → %d MiB, %d goroutines at rest; %d requests, failed: %s",
		n, time.Since(began).Round(time.Second), before.files, after.files, before.threads, after.threads, before.mib, after.mib, goroutines, succeeded, kinds(failed))
}

// clock: the machine sleeps, and its clock jumps.
func clock(s *scene) {
	p := s.startUnderLoad("  health_interval_seconds: 1\n  health_failures: 2\n")
	before := p.workers()
	all := append(p.workers(), append(descendants(p.PID()), p.PID())...)
	slept := s.duration(20*time.Second, 5*time.Second)
	suspend(all...)
	s.pause(slept)
	resume(all...)
	s.pause(3 * time.Second)
	s.want(slices.Equal(p.workers(), before), "a worker was replaced after %v of sleep", slept)
	jumps := "no jump of the clock"
	if s.clock && s.asRoot("setting the clock") {
		began := time.Now()
		jump := func(by time.Duration) {
			var now syscall.Timeval
			s.do(syscall.Gettimeofday(&now))
			now.Sec += int64(by / time.Second)
			s.do(syscall.Settimeofday(&now))
		}
		jump(time.Hour)
		s.cleanup = append(s.cleanup, func() {
			if time.Now().Round(0).Sub(began.Round(0)) > 30*time.Minute {
				jump(-time.Hour)
			}
		})
		s.pause(3 * time.Second)
		jump(-time.Hour)
		s.pause(3 * time.Second)
		s.want(slices.Equal(p.workers(), before), "a worker was replaced when the clock jumped")
		jumps = "the clock an hour ahead and back"
	} else if !s.clock {
		s.skip("a jump of the clock: -clock")
	}
	p.load.check(nil)
	succeeded, failed := p.load.counts()
	s.figure("all stopped for %v, %s: same worker, %d requests, failed: %s", slept, jumps, succeeded, kinds(failed))
}

// toolchain: there is no go command, no module proxy, no cache.
func toolchain(s *scene) {
	p := s.project("")
	p.page("/other", 1, "")
	mod, err := os.ReadFile(filepath.Join(p.Dir, "go.mod"))
	s.do(err)
	s.do(p.Write("go.mod", string(mod)+"\nrequire example.com/nowhere v1.0.0\n"))
	sum := base64.StdEncoding.EncodeToString(make([]byte, 32))
	s.do(p.Write("go.sum", fmt.Sprintf("example.com/nowhere v1.0.0 h1:%s\nexample.com/nowhere v1.0.0/go.mod h1:%[1]s\n", sum)))
	p.start([]string{"/", "/other"})
	s.await(30*time.Second, "what was learned of the pages is kept", func() bool { return len(p.kept()) >= 2 })
	s.pause(time.Second)
	p.Stop()

	with := func(vars ...string) func(*exec.Cmd) {
		return func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), vars...) }
	}
	diagnosed := func(what, wants string, break_ func()) {
		p.awaitEdit("/", 1, 20*time.Second)
		p.awaitEdit("/other", 1, 20*time.Second)
		before := p.logged("build failed")
		break_()
		s.await(30*time.Second, what+": the build fails", func() bool { return p.logged("build failed") > before })
		s.pause(time.Second)
		s.want(p.logged("build failed") == before+1, "%s: %d diagnoses", what, p.logged("build failed")-before)
		log := p.log()
		last := log[strings.LastIndex(log, "build failed"):]
		s.want(strings.Contains(last, wants), "%s: the diagnosis does not name %q: %.600s", what, wants, last)
		s.want(p.servedBy("/").edit == 1, "%s: the built binary does not serve", what)
		p.page("/", 1, "")
		p.Stop()
	}
	saveIt := func() { p.page("/", 2, "") }
	p.launch(with("PATH=/nonexistent"))
	diagnosed("without a go command", "go", saveIt)

	p.launch(with("GOPROXY=http://127.0.0.1:1"))
	diagnosed("without a module proxy", "connection refused", func() {
		s.do(p.Write(p.file("/"), strings.Replace(pageText(2, ""), "\"tqserver/pkg/worker\"", "\"tqserver/pkg/worker\"\n\t_ \"example.com/nowhere\"", 1)))
	})

	cache := filepath.Join(s.dir, "file")
	s.do(os.WriteFile(cache, nil, 0o444))
	p.launch(with("GOCACHE=" + filepath.Join(cache, "cache")))
	diagnosed("without a cache", cache, saveIt)
	s.figure("no go command, no module proxy, no cache: one diagnosis each, built binaries serve")
}

// kept are the files beside the binaries that say what they were made of.
func (p *sceneProject) kept() []string {
	files, _ := filepath.Glob(filepath.Join(p.Dir, "bin", "*", "*"))
	return files
}
