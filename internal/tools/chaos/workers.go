package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func suspend(pids ...int) {
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
}

func resume(pids ...int) {
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGCONT)
	}
}

// badWorkers: workers that never get ready, lose their health, hang, do not end.
func badWorkers(s *scene) {
	p := s.startUnderLoad(quickDrain + "  start_timeout_seconds: 2\n  health_interval_seconds: 1\n  health_failures: 2\n")
	before := p.servedBy("/")
	p.page("/", 2, "mute")
	p.awaitLogged(20*time.Second, "it was not ready within workers.start_timeout_seconds")
	s.want(p.servedBy("/") == before, "what never got ready replaced what serves")

	p.page("/", 3, "")
	p.awaitEdit("/", 3, 20*time.Second)
	pid := p.servedBy("/").pid
	s.do(p.Write("sick", strconv.Itoa(pid)))
	sick, _ := s.await(20*time.Second, "a worker that responds 500 on /health is replaced", func() bool { return p.servedBy("/").pid != pid })
	s.do(os.Remove(filepath.Join(p.Dir, "sick")))

	pid = p.servedBy("/").pid
	suspend(pid)
	hung, _ := s.await(40*time.Second, "a worker that hangs is replaced", func() bool {
		r, err := p.get("/")
		return err == nil && r.pid != pid
	})
	gone := 10 * time.Second
	if s.perPage() > 1 { // others respond at once, long before it is found
		gone = 40 * time.Second
	}
	s.await(gone, "the worker that hung is gone", func() bool { return !alive(pid) })
	p.load.check(func(x *exchange) bool {
		return x.method != "GET" && x.ended.Sub(x.began) > time.Second
	}) // what it had begun

	p.page("/", 4, "deaf")
	p.awaitEdit("/", 4, 20*time.Second)
	pid = p.servedBy("/").pid
	p.page("/", 5, "heir")
	p.awaitEdit("/", 5, 20*time.Second)
	deaf, _ := s.await(5*time.Second, "a worker that ignores SIGTERM is killed", func() bool { return !alive(pid) })

	pid = p.servedBy("/").pid
	child := slices.DeleteFunc(p.processes(), func(child int) bool { return !strings.HasPrefix(name(child), "sleep") })
	s.must(len(child) == s.perPage(), "there are %d children", len(child))
	syscall.Kill(pid, syscall.SIGKILL)
	heir := p.awaitEdit("/", 5, 5*time.Second)
	s.await(time.Second, "the child that held output and port is gone", func() bool { return !alive(child[0]) })
	succeeded, failed := p.load.counts()
	s.figure("never ready: the old one served on; sick: replaced after %.1f s; hung: after %.1f s; deaf: killed after %.1f s; killed with a child that held output and port: responds after %d ms; %d requests, failed: %s", sick.Seconds(), hung.Seconds(), deaf.Seconds(), heir.Milliseconds(), succeeded, kinds(failed))
}

// flood: a worker prints as fast as it can. The effect on others is measured in
// turns with and without, because the machine has bad moments of its own.
func flood(s *scene) {
	p := s.project("")
	p.page("/other", 1, "")
	p.start([]string{"/", "/other"})
	other := p.loadWith("/other", pace, 2, 0)
	s.pause(time.Second)
	memory := resident(p.PID())
	const part = 32 // MiB that a request prints: all would take longer than a response may
	rounds, most := s.count(32, 5), 0
	c := &client{address: p.Address, timeout: 10 * time.Minute}
	defer c.close()
	var late time.Duration // how long this process had to wait for a processor
	during := func(path string) *exchange {
		done := make(chan *exchange, 1)
		go func() { done <- c.do("GET", path, "", "") }() // ends with its response
		for {
			due := time.Now().Add(20 * time.Millisecond)
			select {
			case x := <-done:
				return x
			case <-time.After(time.Until(due)):
				late = max(late, time.Since(due))
				most = max(most, resident(p.PID()))
			}
		}
	}
	var calm, busy []time.Duration
	var took time.Duration
	longest := 0
	for range rounds {
		other.times()
		s.pause(2 * time.Second)
		calm = append(calm, other.times()...)
		began := time.Now()
		x := during(fmt.Sprintf("/flood?n=%d", part))
		s.want(x.err == nil, "%v", x)
		wait, err := strconv.Atoi(strings.Fields(x.body + " -")[0])
		s.want(err == nil, "the response to a flood was %q", x.body)
		longest = max(longest, wait)
		took += time.Since(began)
		busy = append(busy, other.times()...)
	}
	without, with := p99(calm), p99(busy)
	s.want(time.Duration(longest)*time.Millisecond <= 100*time.Millisecond+4*late, "a write took %d ms, and nobody waited for a processor for more than %v", longest, late)
	x := during("/line?n=50")
	s.want(x.err == nil, "%v", x)
	s.want(most-memory < 32, "the server took %d MiB more", most-memory)
	bar := 2 * without
	if s.short { // beside whatever else the machine does: its time slices decide below 5 ms
		bar = 3 * max(without, 5*time.Millisecond)
	}
	s.want(with < bar, "the other page's p99 was %v, and %v in the flood", without, with)
	other.check(nil)
	s.figure("%d MiB at %.0f MiB/s and a line of 50 MiB: server +%d MiB, longest write %d ms, another page's p99 %.1f ms, %.1f ms without", rounds*part, float64(rounds*part)/took.Seconds(), max(0, most-memory), longest, ms(with), ms(without))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// crashLoop: a page ends as soon as it starts. There are requests for another page,
// but only one a second while the cost of the loop is measured: ten a second would
// cost the server more than the loop.
func crashLoop(s *scene) {
	p := s.project("")
	p.page("/bad", 1, "exit")
	p.start([]string{"/"})
	p.load = p.loadWith("/", pace, 4, 0)
	d := s.duration(5*time.Minute, 20*time.Second)
	s.await(time.Minute, "three starts, and responses of another page", func() bool {
		succeeded, _ := p.load.counts()
		return p.logged("the worker did not start") >= 3 && succeeded > 0
	})
	p.load.check(nil)
	p.load = p.loadWith("/", time.Second, 1, 0)
	s.pause(time.Second)
	before := cpu(p.PID())
	s.pause(d)
	used := 100 * (cpu(p.PID()) - before).Seconds() / d.Seconds()
	starts, lines := p.logged("the worker did not start"), strings.Count(p.log(), "\n")
	s.want(starts <= 25*s.perPage(), "%d starts in %v", starts, d)
	s.want(lines < 200, "%d lines in the log", lines)
	s.want(used < 2, "the server took %.1f %% of a processor", used)
	p.load.check(nil)
	p.load = p.loadWith("/", pace, 4, 0)
	began := time.Now()
	p.page("/bad", 2, "")
	p.awaitEdit("/bad", 2, 5*time.Second)
	back := time.Since(began)
	p.load.check(nil)
	s.figure("%v: %d starts, %d lines in the log, %.2f %% CPU; a save served after %.1f s", d, starts, lines, used, back.Seconds())
}

// badBuild: a new build ends at its first requests.
func badBuild(s *scene) {
	p := s.project("")
	p.start([]string{"/"})
	load := p.loadWith("/", pace, 4, 0)
	s.pause(time.Second)
	began := time.Now()
	p.page("/", 2, "panic")
	p.awaitLogged(20*time.Second, "rolling back to the previous build")
	p.awaitEdit("/", 1, 5*time.Second)
	back := time.Since(began)
	s.pause(time.Second)
	load.stop()
	succeeded, failed := load.counts()
	p.load = p.newLoad("/")
	s.pause(time.Second)
	p.page("/", 3, "")
	p.awaitEdit("/", 3, 20*time.Second)
	p.load.check(nil)
	p.Stop()

	dev := s.project("dev:\n  mode: on\n")
	dev.start([]string{"/"})
	dev.page("/", 2, "panic")
	dev.awaitLogged(20*time.Second, "swapped")
	shown, page := false, ""
	s.await(10*time.Second, "in development the browser shows the panic", func() bool {
		c := &client{address: dev.Address, timeout: 10 * time.Second}
		defer c.close()
		x := c.do("GET", "/", "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n", "")
		page = x.body
		shown = strings.Contains(page, "panic: boom")
		return shown
	})
	s.want(dev.logged("rolling back") == 0, "in development a build was put back")
	s.figure("rolled back and responding %.1f s after the save, %d responses meanwhile and %d failures; in development the panic is shown", back.Seconds(), succeeded, len(failed))
}

// maxRequests: workers are replaced all the time.
func maxRequests(s *scene) {
	p := s.project(quickDrain + "  default:\n    max_requests: 100\n")
	p.start([]string{"/"})
	p.load = p.newLoad("/") // with a stream, which a worker keeps until its drain ends
	busy := p.loadWith("/", 0, 8, 0)
	most := 0
	for end := time.Now().Add(s.duration(time.Minute, 8*time.Second)); time.Now().Before(end); {
		most = max(most, len(p.workers()))
		s.pause(20 * time.Millisecond)
	}
	busy.check(nil)
	p.load.check(nil)
	succeeded, failed := busy.counts()
	replaced := p.logged("reason=max_requests")
	s.want(replaced > 10, "%d replacements", replaced)
	s.want(most <= 9+s.perPage(), "there were %d workers at a time", most)
	s.figure("%d requests, %d replacements one after another, failed: %s, at most %d workers at a time, with those that drain", succeeded, replaced, kinds(failed), most)
}

// maxMemory: workers grow without end.
func maxMemory(s *scene) {
	p := s.project(quickDrain + "  default:\n    max_memory: 100MiB\n")
	p.start([]string{"/"})
	p.load = p.newLoad("/")
	grow := p.loadWith("/grow?n=1", 20*time.Millisecond, 1, 0) // 40 MB a second
	most := 0
	for end := time.Now().Add(s.duration(time.Minute, 10*time.Second)); time.Now().Before(end); {
		for _, pid := range p.workers() {
			most = max(most, resident(pid))
		}
		s.pause(50 * time.Millisecond)
	}
	grow.check(nil)
	p.load.check(nil)
	replaced := p.logged("reason=max_memory")
	s.want(replaced >= 2, "%d replacements", replaced)
	s.want(most < 200, "a worker took %d MiB", most)
	succeeded, failed := p.load.counts()
	s.figure("limit 100 MiB, growing by 40 MiB a second: %d replacements, %d MiB at most, %d requests, failed: %s", replaced, most, succeeded, kinds(failed))
}

// ownInput: a page writes one of its own sources whenever it starts.
func ownInput(s *scene) {
	p := s.project("")
	p.page("/stamp", 1, "stamp")
	p.start([]string{"/", "/stamp"})
	p.load = p.loadWith("/", pace, 4, 0)
	const said = "the page writes a file of its own build"
	began := time.Now()
	p.awaitLogged(time.Minute, said)
	noticed := time.Since(began)
	s.pause(time.Second) // a worker that was ready may take over
	rounds := strings.Count(p.log(), "swapped page=/stamp ")
	s.pause(s.duration(30*time.Second, 3*time.Second))
	more := strings.Count(p.log(), "swapped page=/stamp ") - rounds
	s.want(more == 0, "%d more swaps after it was said that the page is left as it is", more)
	s.want(p.logged(said) == 1, "it is said %d times", p.logged(said))
	p.page("/stamp", 2, "stamp")
	took := p.awaitEdit("/stamp", 2, 20*time.Second)
	p.load.check(nil)
	s.figure("noticed after %d swaps, in %.1f s, and left as it is; a save of another file served after %.1f s", rounds, noticed.Seconds(), took.Seconds())
}
