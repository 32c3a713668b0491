package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// randomFaults is a series of faults in any order, and what it allows to fail.
type randomFaults struct {
	s       *scene
	p       *sceneProject
	edit    int  // the newest of the page /
	good    bool // that edit can serve
	configs int
	allowed []func(*exchange) bool
}

const randomSettings = quickDrain + "  health_interval_seconds: 1\n  health_failures: 2\n"

// random: faults in any order.
func random(s *scene) {
	p := s.project(randomSettings)
	p.page("/other", 1, "")
	p.start([]string{"/", "/other"})
	r := &randomFaults{s: s, p: p, edit: 1, good: true}
	actions := r.actions()
	counts := make(map[string]int)
	n := 0
	load := p.newLoad("/")
	p.load = load
	for end := time.Now().Add(s.lasts); time.Now().Before(end) && len(s.broken) == 0; n++ {
		action := actions[s.rnd.IntN(len(actions))]
		counts[action.name]++
		action.do()
		s.pause(time.Duration(s.rnd.IntN(1500)) * time.Millisecond)
		if !r.good || action.name == "kill server" || action.name == "hang" || action.name == "kill" {
			// An older build may have to respond for one that does not build or start,
			// or that ends twice within ten seconds; and a server that starts anew
			// knows no older build.
			r.save()
		}
		if n%4 == 3 {
			r.checkRecovery(action.name)
		}
	}
	load.check(r.mayFail)
	succeeded, failed := load.counts()
	s.figure("%d faults of %d kinds in %v, seed %d: %d requests, failed as they may: %s", n, len(counts), s.lasts, s.seed, succeeded, kinds(failed))
}

type randomAction struct {
	name string
	do   func()
}

// actions returns what may happen. An action that is listed twice is twice as
// likely.
func (r *randomFaults) actions() []randomAction {
	s, p := r.s, r.p
	return []randomAction{
		{"save", r.save},
		{"save", r.save},
		{"three saves", func() {
			for range 3 {
				r.save()
				s.pause(time.Duration(s.rnd.IntN(400)) * time.Millisecond)
			}
		}},
		{"break", func() {
			s.do(p.Write(p.file("/"), "package main\n\nfunc main() { broken }\n"))
			r.good = false
		}},
		{"never ready", func() {
			r.edit++
			p.page("/", r.edit, "exit")
			r.good = false
		}},
		{"kill", r.kill},
		{"hang", r.hang},
		{"configuration", func() {
			r.configs++
			p.configure(200, randomSettings+fmt.Sprintf("  default:\n    idle_timeout_seconds: %d\n", 1_000_000+r.configs))
		}},
		{"bad configuration", func() { s.do(p.Write("config/server.yaml", "server: [")) }},
		{"no logs", func() { s.removeAll(filepath.Join(p.Dir, "logs", "index")) }},
		{"another page", func() {
			s.do(os.Rename(filepath.Join(p.Dir, "pages", "other"), filepath.Join(p.Dir, "pages", "moved")))
			s.pause(time.Duration(s.rnd.IntN(300)) * time.Millisecond)
			s.do(os.Rename(filepath.Join(p.Dir, "pages", "moved"), filepath.Join(p.Dir, "pages", "other")))
		}},
		{"flood", func() { p.get("/flood?n=64") }},
		{"no binaries", func() {
			for _, file := range p.kept() {
				os.Remove(file)
			}
		}},
		{"kill server", r.killServer},
	}
}

func (r *randomFaults) save() {
	r.edit++
	r.good = true
	r.p.page("/", r.edit, "")
}

func (r *randomFaults) kill() {
	from := time.Now()
	for _, pid := range r.p.workers() {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	r.s.pause(300 * time.Millisecond)
	r.allow(from, false)
}

func (r *randomFaults) hang() {
	from := time.Now()
	if all := r.p.workers(); len(all) > 0 {
		suspend(all[r.s.rnd.IntN(len(all))])
	}
	r.s.pause(15 * time.Second)
	r.allow(from, false)
}

func (r *randomFaults) killServer() {
	from := time.Now()
	r.p.Signal(syscall.SIGKILL)
	r.p.Ended(r.s.ctx)
	r.p.configure(200, r.p.extra) // with a bad one it would not start
	r.p.launch()
	r.s.await(time.Minute, "it responds", func() bool { _, err := r.p.get("/"); return err == nil })
	r.allow(from, true)
}

// checkRecovery checks that all pages serve their newest edits, each by one worker.
func (r *randomFaults) checkRecovery(action string) {
	s, p := r.s, r.p
	p.configure(200, p.extra)
	r.save()
	p.awaitEdit("/", r.edit, 30*time.Second)
	p.awaitEdit("/other", 1, 30*time.Second)
	// What hangs is killed when its drain and shutdown_grace_period_ms are over.
	if _, ok := s.await(40*time.Second, "only workers that serve are left", func() bool { return len(p.workers()) == 2*p.s.perPage() }); !ok {
		for _, pid := range p.processes() {
			s.want(false, "process %d: %s", pid, name(pid))
		}
	}
	s.want(len(s.broken) == 0, "after: %s", action)
}

// allow permits requests to fail that ran at some time between from and a second
// from now: all if gets is set, or else those that are no GET without a byte of a
// response.
func (r *randomFaults) allow(from time.Time, gets bool) {
	to := time.Now().Add(time.Second)
	r.allowed = append(r.allowed, func(x *exchange) bool {
		return (gets || x.method != "GET" || x.responseBegan) && x.began.Before(to) && x.ended.After(from)
	})
}

func (r *randomFaults) mayFail(x *exchange) bool {
	for _, allowed := range r.allowed {
		if allowed(x) {
			return true
		}
	}
	return false
}
