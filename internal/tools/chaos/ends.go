package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"tqserver/internal/project"
)

const quickDrain = "  drain_timeout_seconds: 2\n"

// saves: a page is saved again and again.
func saves(s *scene) {
	p := s.startUnderLoad(quickDrain)
	n, most := s.count(100, 25), 0
	for i := range n {
		p.page("/", i+2, "")
		for range 6 {
			most = max(most, len(p.workers()))
			s.pause(100 * time.Millisecond)
		}
	}
	p.awaitEdit("/", n+1, 10*time.Second)
	s.await(4*time.Second, "only those that serve are left, each on a port", func() bool { return len(p.workers()) == s.perPage() && p.listeners(200) == s.perPage() })
	p.load.check(nil)
	succeeded, failed := p.load.counts()
	s.figure("%d saves at a pace of 600 ms, %d of them served, %d requests, failed: %s, at most %d workers", n, p.logged("swapped"), succeeded, kinds(failed), most)
}

// killWorker: kill -9 of the worker.
func killWorker(s *scene) {
	p := s.startUnderLoad("")
	n := s.count(20, 4)
	type moment struct{ from, to time.Time }
	var kills []moment
	var longest time.Duration
	for i := range n {
		p.page("/", i+2, "") // after a save a crash is the first again
		p.awaitEdit("/", i+2, 10*time.Second)
		s.pause(500 * time.Millisecond)
		from := time.Now()
		pid := p.servedBy("/").pid
		syscall.Kill(pid, syscall.SIGKILL)
		killed := time.Now()
		if next := p.servedBy("/"); s.want(next.pid != pid, "the killed worker responds") {
			longest = max(longest, time.Since(killed))
		}
		kills = append(kills, moment{from, time.Now()})
		s.pause(500 * time.Millisecond)
	}
	s.want(longest < 300*time.Millisecond, "the next response took %v", longest)
	s.want(p.logged("the worker exited") == n && p.logged("reason=crash") == n, "of %d kills %d were noticed, and %d workers started", n, p.logged("the worker exited"), p.logged("reason=crash"))
	p.load.check(func(x *exchange) bool { // what was under way on the worker, and was no GET without a byte
		return (x.method != "GET" || x.responseBegan) && slices.ContainsFunc(kills, func(k moment) bool { return x.began.Before(k.to) && x.ended.After(k.from) })
	})
	succeeded, failed := p.load.counts()
	s.figure("%d kills, next response after %d ms at most, %d requests, failed: %s", n, longest.Milliseconds(), succeeded, kinds(failed))
}

// killServer: kill -9 of the server.
func killServer(s *scene) {
	foreign := exec.CommandContext(s.ctx, "sleep", "600")
	foreign.Dir = "/"
	s.do(foreign.Start())
	s.cleanup = append(s.cleanup, func() { foreign.Process.Kill(); foreign.Wait() })
	p := s.project("")
	p.page("/", 1, "parent")
	p.page("/other", 1, "")
	p.start([]string{"/", "/other"})
	s.pause(2 * time.Second) // what was learned of the pages is kept
	var gone, back time.Duration
	n := s.count(10, 3)
	for range n {
		s.want(len(p.processes()) == 3*s.perPage(), "there are %d workers and children", len(p.processes()))
		load := p.loadWith("/other", pace, 2, 0)
		s.pause(200 * time.Millisecond)
		p.Signal(syscall.SIGKILL)
		p.Ended(s.ctx)
		took, _ := s.await(time.Second, "workers and their children have ended", func() bool { return len(p.processes()) == 0 })
		gone = max(gone, took)
		load.stop()
		began := time.Now()
		p.launch()
		p.awaitEdit("/", 1, 2*time.Second)
		p.awaitEdit("/other", 1, 2*time.Second)
		back = max(back, time.Since(began))
	}
	s.want(back < 2*time.Second, "the pages responded again after %v", back)
	s.want(alive(foreign.Process.Pid), "another program was signalled")
	s.figure("%d kills: workers and children gone after %d ms, all pages respond %d ms after the start", n, gone.Milliseconds(), back.Milliseconds())
}

// sigterm: SIGTERM with requests under way, and a second one.
func sigterm(s *scene) {
	p := s.project("")
	p.page("/", 1, "parent")
	p.start([]string{"/"})
	under := s.count(5000, 2000)
	request := func() (end func() []*exchange) {
		var requests sync.WaitGroup
		all := make([]*exchange, 8)
		for i := range all {
			requests.Go(func() { // ends with its response
				c := &client{address: p.Address, timeout: time.Minute}
				defer c.close()
				all[i] = c.do("GET", fmt.Sprintf("/slow?n=%d", under), "", "")
			})
		}
		s.pause(500 * time.Millisecond)
		return func() []*exchange { requests.Wait(); return all }
	}
	end := request()
	p.Signal(syscall.SIGTERM)
	took := p.wantEnd(20*time.Second, 0)
	for _, x := range end() {
		s.want(x.err == nil, "under way at SIGTERM: %v", x)
	}
	s.want(len(p.processes()) == 0, "processes are left")

	p.start([]string{"/"})
	end = request()
	p.Signal(syscall.SIGTERM)
	s.pause(200 * time.Millisecond)
	p.Signal(syscall.SIGTERM)
	second := p.wantEnd(5*time.Second, 130)
	s.want(second < time.Second, "the second SIGTERM took %v", second)
	s.await(time.Second, "nothing is left after the second SIGTERM", func() bool { return len(p.processes()) == 0 })
	end()
	s.figure("8 requests of %d ms under way: all got their response, exit 0 after %d ms; with a second SIGTERM exit 130 after %d ms", under, took.Milliseconds(), second.Milliseconds())
}

// coldBuild: SIGTERM while a page is built for the first time and people wait.
func coldBuild(s *scene) {
	p := s.project("")
	cache := filepath.Join(s.dir, "cache")
	p.launch(func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), "GOCACHE="+cache) })
	var requests sync.WaitGroup
	all := make([]*exchange, 20)
	s.await(5*time.Second, "the server listens", func() bool { return p.logged("listening") > 0 })
	for i := range all {
		requests.Go(func() { // ends with its response
			c := &client{address: p.Address, timeout: time.Minute}
			defer c.close()
			all[i] = c.do("GET", "/", "", "")
		})
	}
	compiling := func() (all []int) {
		for _, pid := range descendants(p.PID()) {
			if name := filepath.Base(link(pid, "exe")); name == "go" || name == "compile" || name == "asm" || name == "link" {
				all = append(all, pid)
			}
		}
		return all
	}
	s.await(20*time.Second, "the compiler runs", func() bool { return len(compiling()) > 1 })
	building := compiling()
	p.Signal(syscall.SIGTERM)
	gone, _ := s.await(200*time.Millisecond, "the build has ended", func() bool { return !slices.ContainsFunc(building, alive) })
	requests.Wait()
	for _, x := range all {
		s.want(x.status == 503, "who waited: %v", x)
	}
	took := p.wantEnd(5*time.Second, 0)
	s.figure("%d processes of a build gone after %d ms, 20 who waited got 503, exit 0 after %d ms", len(building), gone.Milliseconds(), (gone + took).Milliseconds())
}

// tempFull: there is no space for binaries, and then there is again.
func tempFull(s *scene) {
	p := s.project("")
	bin := filepath.Join(p.Dir, "bin")
	if !s.mount(bin, "size=40m,mode=0700") {
		return
	}
	p.start([]string{"/"})
	p.load = p.newLoad("/")
	ballast := filepath.Join(bin, "ballast")
	f, err := os.Create(ballast)
	s.do(err)
	for block := bytes.Repeat([]byte{1}, 1<<16); err == nil; {
		_, err = f.Write(block)
	}
	f.Close()
	s.do(os.Truncate(ballast, fileSize(ballast)-1<<20)) // a megabyte is left
	before := p.servedBy("/")
	p.page("/", 2, "")
	p.awaitLogged(20*time.Second, syscall.ENOSPC.Error())
	s.pause(time.Second)
	s.want(p.servedBy("/") == before, "something else serves")
	s.do(os.Remove(ballast))
	took := p.awaitEdit("/", 2, time.Minute)
	s.want(p.logged("exec format error") == 0, "half a binary was executed")
	p.load.check(nil)
	succeeded, failed := p.load.counts()
	s.figure("the old version served on, the new one came by itself %.1f s after there was space; %d requests, failed: %s", took.Seconds(), succeeded, kinds(failed))
}

func fileSize(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return info.Size()
}

// terminal: the terminal closes while the screen is up.
func terminal(s *scene) {
	if _, err := exec.LookPath("tmux"); err != nil {
		s.skip("tmux is not installed")
		return
	}
	p := s.project("")
	socket := filepath.Join(s.dir, "tmux")
	tmux := func(args ...string) error {
		cmd := exec.CommandContext(s.ctx, "tmux", append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		cmd.Dir = p.Dir
		return cmd.Run()
	}
	s.do(tmux("new-session", "-d", "-x", "100", "-y", "30", p.Program))
	s.cleanup = append(s.cleanup, func() { tmux("kill-server") })
	s.await(time.Minute, "/ responds", func() bool { _, err := p.get("/"); return err == nil })
	server := func() (all []int) {
		return slices.DeleteFunc(pids(), func(pid int) bool { return link(pid, "exe") != p.Program || !project.Contains(p.Dir, link(pid, "cwd")) })
	}
	s.must(len(server()) == 1, "there are %d servers", len(server()))
	response := make(chan *exchange, 1)
	go func() { // ends with its response
		c := &client{address: p.Address, timeout: time.Minute}
		defer c.close()
		response <- c.do("GET", "/slow?n=1500", "", "")
	}()
	s.pause(500 * time.Millisecond)
	s.do(tmux("kill-server"))
	x := <-response
	s.want(x.err == nil, "under way when the terminal closed: %v", x)
	took, _ := s.await(5*time.Second, "the server has ended, and its workers", func() bool { return len(server()) == 0 && len(p.processes()) == 0 })
	s.want(p.logged("msg=stopped") > 0, "the server did not end in order")
	s.figure("a request under way got its response, then all had ended after %d ms", took.Milliseconds())
}
