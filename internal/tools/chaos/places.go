package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tqserver/internal/project"
)

// release: the project's folder is replaced by another, in three ways.
func release(s *scene) {
	p := s.project(quickDrain)
	p.start([]string{"/"})
	p.load = p.loadWith("/", pace, 4, 0)
	edit, module, settings := 1, p.read("go.mod"), p.read("config/server.yaml")
	next := func(dir string) {
		edit++
		for name, text := range map[string]string{"go.mod": module, "config/server.yaml": settings, "pages/index/main.go": pageText(edit, "")} {
			file := filepath.Join(dir, name)
			s.do(os.MkdirAll(filepath.Dir(file), 0o755))
			s.do(os.WriteFile(file, []byte(text), 0o644))
		}
	}
	swap := func(what string, replace func()) time.Duration {
		began := time.Now()
		replace()
		p.Signal(syscall.SIGHUP)
		p.awaitEdit("/", edit, 20*time.Second)
		took := time.Since(began)
		real, err := filepath.EvalSymlinks(p.Dir)
		s.do(err)
		s.await(5*time.Second, what+": the worker runs in the new folder", func() bool { return p.worksIn(real) })
		s.await(5*time.Second, what+": the server works there", func() bool { return link(p.PID(), "cwd") == real })
		return took
	}
	renamed := swap("renamed", func() {
		next(p.Dir + ".next")
		s.do(os.Rename(p.Dir, p.Dir+".old"))
		s.do(os.Rename(p.Dir+".next", p.Dir))
	})
	s.removeAll(p.Dir + ".old")
	p.load.check(nil)

	p.load = p.loadWith("/", pace, 4, 0)
	checkedOut := swap("checked out anew", func() {
		s.removeAll(p.Dir)
		next(p.Dir)
	})
	p.load.check(func(x *exchange) bool { return strings.Contains(x.err.Error(), "status 404") }) // its pages were removed first
	succeeded, failed := p.load.counts()
	p.Stop()

	turned, turns := releaseLink(s)
	s.figure("renamed: the new release responds after %.1f s, no request failed; removed and checked out anew: after %.1f s, %d requests succeeded, and failed: %s; a link turned %d times: after %.1f s at most, no request failed",
		renamed.Seconds(), checkedOut.Seconds(), succeeded, kinds(failed), turns, turned.Seconds())
}

// releaseLink: the project's path is a link, which is turned.
func releaseLink(s *scene) (most time.Duration, turns int) {
	p := s.project(quickDrain)
	releases := func(n int) string { return fmt.Sprintf("%s.r%d", p.Dir, n) }
	s.do(p.Write("config/server.yaml", strings.Replace(p.read("config/server.yaml"), "temp_dir: bin", "temp_dir: "+p.Dir+".bin", 1)))
	s.do(os.Rename(p.Dir, releases(1)))
	s.do(os.Symlink(releases(1), p.Dir))
	p.start([]string{"/"})
	p.load = p.loadWith("/", pace, 4, 0)
	turns = s.count(10, 2)
	for n := 2; n < 2+turns; n++ {
		s.do(os.CopyFS(releases(n), os.DirFS(releases(n-1))))
		s.do(os.WriteFile(filepath.Join(releases(n), "pages/index/main.go"), []byte(pageText(n, "")), 0o644))
		s.do(os.Symlink(releases(n), p.Dir+".next"))
		began := time.Now()
		s.do(os.Rename(p.Dir+".next", p.Dir))
		if n%2 == 0 {
			p.Signal(syscall.SIGHUP)
		}
		p.awaitEdit("/", n, 20*time.Second)
		most = max(most, time.Since(began))
		s.await(5*time.Second, "the worker runs in the new release", func() bool { return p.worksIn(releases(n)) })
	}
	p.load.check(nil)
	p.Stop()
	return most, turns
}

// worksIn reports whether the worker of / runs in a folder.
func (p *sceneProject) worksIn(dir string) bool {
	r, err := p.get("/")
	return err == nil && link(r.pid, "cwd") == dir
}

// read returns a file of the project.
func (p *sceneProject) read(name string) string {
	text, err := os.ReadFile(filepath.Join(p.Dir, name))
	p.s.do(err)
	return string(text)
}

// tempGone: the folder of the binaries is removed, and the page cannot be built.
func tempGone(s *scene) {
	var seen []string
	for _, without := range []string{"sources that compile", "a go command"} {
		p := s.project(quickDrain)
		p.page("/other", 1, "")
		p.start([]string{"/", "/other"})
		s.do(s.rest(p))
		if without == "a go command" {
			p.Stop()
			p.start([]string{"/", "/other"}, func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin") })
		} else {
			s.do(p.Write(p.file("/"), pageText(2, "")+"\nbroken\n"))
			p.awaitLogged(20*time.Second, "build failed")
		}
		p.load = p.loadWith("/other", pace, 4, 0)
		s.removeAll(filepath.Join(p.Dir, "bin"))
		before, lines := cpu(p.PID()), strings.Count(p.log(), "\n")
		for _, pid := range p.workers() {
			if strings.Contains(link(pid, "exe"), "pages-index") {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		c := &client{address: p.Address, timeout: 30 * time.Second}
		refused, _ := s.await(5*time.Second, "the page is refused", func() bool { return c.do("GET", "/", "", "").status == 503 })
		d := s.duration(time.Minute, 2*time.Second)
		s.pause(d)
		used, said := cpu(p.PID())-before, strings.Count(p.log(), "\n")-lines
		s.want(said < 60, "without %s: %d lines in the log in %v", without, said, d)
		x := c.do("GET", "/", "", "")
		s.want(x.status == 503 && x.ended.Sub(x.began) < 3*time.Second, "without %s: %v", without, x)
		c.close()
		p.load.check(nil)
		if without != "a go command" {
			p.page("/", 3, "")
			p.awaitEdit("/", 3, 20*time.Second)
		}
		seen = append(seen, fmt.Sprintf("without %s: 503 after %d ms, in %v %d lines in the log and %.1f s of a processor, of which another page's requests took a part", without, refused.Milliseconds(), d, said, used.Seconds()))
		p.Stop()
	}
	s.figure("%s", strings.Join(seen, "; "))
}

// rest waits until the server is idle.
func (s *scene) rest(p *sceneProject) error { return p.AwaitRest(s.ctx) }

// namespaces: two servers of the same process id and the same project path, as in
// two containers, share a folder of binaries.
func namespaces(s *scene) {
	unshare := "unshare -mpf --kill-child=TERM --mount-proc"
	if os.Geteuid() != 0 {
		unshare += " -Ur"
	}
	if out, err := exec.CommandContext(s.ctx, "sh", "-c", unshare+" true").CombinedOutput(); err != nil {
		s.skip("process ids and mounts of one's own: %v %s", err, out)
		return
	}
	app, bin := filepath.Join(s.dir, "app"), filepath.Join(s.dir, "bin")
	s.do(os.MkdirAll(app, 0o755))
	var both [2]*sceneProject
	for i := range both {
		p := s.project(quickDrain)
		both[i] = p
		s.do(p.Write("config/server.yaml", strings.Replace(p.read("config/server.yaml"), "temp_dir: bin", "temp_dir: "+bin, 1)))
		p.page("/", number(i, 1), "")
		p.launch(func(cmd *exec.Cmd) {
			sh, err := exec.LookPath("sh")
			s.do(err)
			inside := fmt.Sprintf("mount --bind %s %s && cd %s && exec %s -quiet", p.Dir, app, app, p.Program)
			// unshare does not heed SIGTERM; the server gets one when unshare is killed.
			script := fmt.Sprintf("%s sh -c '%s' & trap \"kill -9 $!\" TERM; wait", unshare, inside)
			cmd.Path, cmd.Args = sh, []string{"sh", "-c", script}
		})
	}
	n := s.count(40, 8)
	for edit := 1; edit <= n; edit++ {
		for i, p := range both {
			if edit > 1 {
				p.page("/", number(i, edit), "")
			}
		}
		for i, p := range both {
			p.awaitEdit("/", number(i, edit), time.Minute)
			if p.load == nil {
				p.load = p.loadWith("/", pace, 2, 0)
			}
		}
	}
	for i, p := range both {
		s.await(10*time.Second, "requests of the load get the newest program", func() bool { return int(p.load.newest.Load()) >= number(i, n) })
		p.load.check(nil)
		newest := int(p.load.newest.Load())
		s.want(newest == number(i, n), "a server served the program %d of the other", newest)
	}
	for _, p := range both {
		p.Stop()
	}
	s.await(10*time.Second, "both servers and all workers have ended", func() bool {
		for _, pid := range pids() {
			if project.Contains(s.dir, link(pid, "cwd")) || strings.HasPrefix(link(pid, "exe"), bin) {
				return false
			}
		}
		return true
	})
	s.figure("%d saves of both at once, each always served its own program", n)
}

// number distinguishes the edits of one server from those of the other.
func number(server, edit int) int { return 1000*server + edit }
