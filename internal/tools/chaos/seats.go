package main

import (
	"math/rand/v2"
	"syscall"
	"time"
)

// seats: a page with four workers is saved and its workers are killed, one every
// 200 ms; then one is suspended.
func seats(s *scene) {
	const instances = 4
	p := s.startUnderLoad(quickDrain + "  health_interval_seconds: 1\n  health_failures: 2\n  default:\n    instances: 4\ndev: {mode: \"on\"}\n") // or a build whose workers are killed so often is rolled back
	p.awaitSeats(instances)
	busy := p.loadWith("/", 0, 8, 0)
	kills, n := 0, s.count(100, 20)
	for i := range n {
		p.page("/", i+2, "")
		for range 5 {
			if pids := p.workers(); len(pids) > 1 { // the last worker's crash is another scene
				syscall.Kill(pids[rand.IntN(len(pids))], syscall.SIGKILL)
				kills++
			}
			s.pause(200 * time.Millisecond)
		}
	}
	p.awaitEdit("/", n+1, 40*time.Second)
	p.awaitSeats(instances)

	pid := p.workers()[0]
	suspend(pid)
	hung, _ := s.await(40*time.Second, "a worker that hangs is replaced", func() bool { return !alive(pid) })
	p.awaitSeats(instances)

	busy.check(nil)
	p.load.check(func(x *exchange) bool { return x.method != "GET" }) // what a killed worker had
	succeeded, failed := p.load.counts()
	more, _ := busy.counts()
	s.figure("%d saves and %d kills of 4 workers: no GET of %d failed; others: %s; one that hung was gone after %.1f s", n, kills, succeeded+more, kinds(failed), hung.Seconds())
}

// awaitSeats waits until so many workers run, each on a port.
func (p *sceneProject) awaitSeats(n int) {
	p.s.await(60*time.Second, "all workers serve", func() bool { return len(p.workers()) == n && p.listeners(200) == n })
}
