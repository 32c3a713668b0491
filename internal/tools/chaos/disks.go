package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// logsGone: the folder of the logs is full, read-only, deleted.
func logsGone(s *scene) {
	p := s.project("")
	logs := filepath.Join(p.Dir, "lines")
	p.configure(50, "  default:\n    log_file: \"lines/{path}/today/worker.log\"\n")
	p.page("/other", 1, "")
	disks := s.mount(filepath.Join(logs, "index"), "size=256k") && s.mount(filepath.Join(logs, "other"), "ro")
	p.start([]string{"/", "/other"})
	p.load = p.newLoad("/")
	var chatty []*load
	for _, route := range []string{"/", "/other"} {
		l := p.loadWith(pathBelow(route, "say?n=4000"), pace, 2, 0) // 600 kB a second
		defer l.stop()
		chatty = append(chatty, l)
	}
	grow := func(within time.Duration, pages ...string) time.Duration {
		before := make(map[string]int64)
		for _, page := range pages {
			before[page] = fileSize(filepath.Join(logs, page, "today", "worker.log"))
		}
		took, _ := s.await(within, "lines are written again", func() bool {
			return !slices.ContainsFunc(pages, func(page string) bool {
				return fileSize(filepath.Join(logs, page, "today", "worker.log")) <= before[page]
			})
		})
		return took
	}
	if disks {
		p.awaitLogged(20*time.Second, "no space left on device")
		p.awaitLogged(20*time.Second, "read-only file system")
		s.do(exec.CommandContext(s.ctx, "mount", "-o", "remount,size=64m", filepath.Join(logs, "index")).Run())
		s.do(exec.CommandContext(s.ctx, "mount", "-o", "remount,rw", filepath.Join(logs, "other")).Run())
		grow(15*time.Second, "index", "other")
	}
	s.removeAll(filepath.Join(logs, "index", "today"))
	took := grow(15*time.Second, "index")
	for _, l := range chatty {
		l.check(nil)
	}
	p.load.check(nil)
	succeeded, failed := p.load.counts()
	s.figure("full, read-only and deleted: %d requests, failed: %s; a deleted folder was back after %.1f s", succeeded, kinds(failed), took.Seconds())
}

// ports: there are too few, and others take them.
func ports(s *scene) {
	p := s.project("")
	p.configure(2, quickDrain)
	p.page("/a", 1, "")
	p.page("/b", 1, "")
	p.launch()
	routes := []string{"/", "/a", "/b"}
	p.awaitLogged(time.Minute, "waiting for a port")
	waiting := ""
	s.await(20*time.Second, "two of three pages serve", func() bool { return p.logged("msg=serving ") == 2 })
	for _, route := range routes {
		if p.logged("msg=serving page="+route+" ") == 0 {
			waiting = route
		}
	}
	s.must(waiting != "", "all three pages serve on two ports")
	response := make(chan error, 1)
	go func() { // ends with its response
		_, err := p.get(waiting)
		response <- err
	}()
	other := "/a"
	if waiting == other {
		other = "/b"
	}
	s.pause(300 * time.Millisecond)
	s.removeAll(filepath.Dir(filepath.Join(p.Dir, p.file(other))))
	select {
	case err := <-response:
		s.want(err == nil, "who waited for a port: %v", err)
	case <-time.After(20 * time.Second):
		s.want(false, "the page that waits does not start when a port is free")
	}
	p.Stop()

	one := s.project("")
	one.configure(1, quickDrain)
	one.start([]string{"/"})
	one.load = one.loadWith("/", pace, 4, 0)
	n := s.count(20, 4)
	for i := range n {
		one.page("/", i+2, "")
		one.awaitEdit("/", i+2, 20*time.Second)
	}
	one.load.check(nil)
	one.Stop()

	taken := s.project("")
	foreign := 0
	for i := range 2 {
		go http.Serve(s.tcp(taken.FirstPort+i), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // ends with the listener
			foreign++
			fmt.Fprintln(w, "another program's response")
		}))
	}
	taken.start([]string{"/"})
	taken.load = taken.newLoad("/")
	var after []net.Listener
	for i := 2; i < 12; i += 2 { // every second of those that come next
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(taken.FirstPort+i)); err == nil {
			after = append(after, l)
			go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "another program's response") })) // ends with l
		}
	}
	for i := range n {
		taken.page("/", i+2, "")
		taken.awaitEdit("/", i+2, 20*time.Second)
	}
	taken.load.check(nil)
	for _, l := range after {
		l.Close()
	}
	succeeded, failed := taken.load.counts()
	held, refused := one.load.counts()
	s.figure("a third page started by itself when one of two ports was free; %d saves on one port: %d requests, failed: %s; beside %d foreign listeners: %d requests, failed: %s", n, held, kinds(refused), 2+len(after), succeeded, kinds(failed))
}

// configuration: the file is saved in all the ways that editors and people have.
func configuration(s *scene) {
	const reloaded = "Configuration reloaded successfully"
	p := s.startUnderLoad("")
	file := filepath.Join(p.Dir, "config", "server.yaml")
	good := func(n int) string {
		return p.Configuration(p.FirstPort+200, fmt.Sprintf("  default:\n    idle_timeout_seconds: %d\n", n))
	}
	number, reloads := 1_000_000, 0
	// expect waits for a worker with the newest settings.
	expect := func(what string, save func(text string)) {
		number++
		before, pid := p.logged(reloaded), p.servedBy("/").pid
		save(good(number))
		s.await(10*time.Second, what+": another worker", func() bool { return p.servedBy("/").pid != pid })
		s.pause(400 * time.Millisecond)
		got := p.logged(reloaded) - before
		reloads += got
		s.want(got == 1, "%s: %d reloads", what, got)
	}
	put := func(text string) { s.do(os.WriteFile(file, []byte(text), 0o644)) }
	expect("in place", put)
	expect("renamed over", func(text string) {
		s.do(os.WriteFile(file+".new", []byte(text), 0o644))
		s.do(os.Rename(file+".new", file))
	})
	expect("a link that is turned", func(text string) {
		for i, content := range []string{p.extra, text} {
			to := filepath.Join(p.Dir, "config", fmt.Sprintf("real%d", i))
			if i == 0 {
				content = good(number - 1) // nothing changes with the link itself
			}
			s.do(os.WriteFile(to, []byte(content), 0o644))
			s.do(os.Symlink(to, file+".link"))
			s.do(os.Rename(file+".link", file))
			if i == 0 {
				s.pause(500 * time.Millisecond)
			}
		}
	})
	s.do(os.Remove(file))
	put(good(number))
	s.pause(500 * time.Millisecond)
	expect("ten writes in 100 ms", func(text string) {
		for i := range 10 {
			put(good(number*100 + i))
			s.pause(10 * time.Millisecond)
		}
		put(text)
	})
	expect("deleted and back", func(text string) {
		s.do(os.Remove(file))
		s.pause(300 * time.Millisecond)
		put(text)
	})

	workers, before := p.workers(), p.logged(reloaded)
	for what, text := range map[string]string{
		"truncated":   good(number + 1)[:40] + "\n  x: [",
		"empty":       "",
		"unknown key": strings.Replace(good(number+1), "idle_timeout_seconds", "idle_timeout_second", 1),
		"bad value":   strings.Replace(good(number+1), "port: ", "port: x", 1),
	} {
		said := p.logged("level=ERROR")
		put(text)
		s.await(5*time.Second, what+": it is refused", func() bool { return p.logged("level=ERROR") > said })
		s.want(slices.Equal(p.workers(), workers), "%s: a worker was replaced", what)
	}
	s.want(p.logged(reloaded) == before, "a bad file was taken")
	p.load.check(nil)
	succeeded, failed := p.load.counts()
	s.figure("5 ways to save: %d reloads; 4 bad files refused, same process; %d requests, failed: %s", reloads, succeeded, kinds(failed))
}

// folders: pages come, go and move.
func folders(s *scene) {
	p := s.project(quickDrain + "file_watcher:\n  debounce_ms: 200\n")
	p.page("/a", 1, "")
	p.start([]string{"/", "/a"})
	p.load = p.newLoad("/")
	at := func(name string) string { return filepath.Join(p.Dir, "pages", name) }
	status := func(path string) int {
		c := &client{address: p.Address, timeout: 30 * time.Second}
		defer c.close()
		return c.do("GET", path, "", "").status
	}
	root := p.servedBy("/").edit
	s.pause(2 * time.Second)
	before := watches(p.PID())
	n := s.count(20, 3)
	for i := range n {
		s.do(os.Rename(at("a"), at("b")))
		p.awaitEdit("/b", 1+i, 20*time.Second)
		s.await(5*time.Second, "/a is the root's", func() bool {
			r, err := p.get("/a")
			return err == nil && r.edit == root && r.pid == p.servedBy("/").pid
		})
		s.removeAll(at("b"))
		s.await(5*time.Second, "/b is the root's", func() bool { r, err := p.get("/b"); return err == nil && r.pid == p.servedBy("/").pid })
		p.page("/a", 2+i, "")
		p.awaitEdit("/a", 2+i, 20*time.Second)
	}
	pid := p.servedBy("/a").pid
	s.do(os.Rename(at("a"), at(".a")))
	s.do(os.Rename(at(".a"), at("a"))) // within debounce_ms it was never gone
	s.pause(500 * time.Millisecond)
	s.want(p.servedBy("/a").pid == pid, "a folder that came back at once was restarted")
	p.load.check(nil)

	s.do(os.Rename(at(""), filepath.Join(p.Dir, "away")))
	s.await(5*time.Second, "without the pages folder all is 404", func() bool { return status("/") == 404 && status("/a") == 404 })
	s.do(os.Rename(filepath.Join(p.Dir, "away"), at("")))
	back := p.awaitEdit("/", 1, 20*time.Second)
	p.awaitEdit("/a", 1+n, 20*time.Second)
	s.pause(3 * time.Second)
	after := watches(p.PID())
	s.want(after == before, "%d folders are watched, which were %d", after, before)
	succeeded, failed := p.load.counts()
	s.figure("%d rounds of rename, delete, recreate beside %d requests of another page, failed: %s; the pages folder away and back: responses after %d ms; %d watches before and after", n, succeeded, kinds(failed), back.Milliseconds(), after)
	p.Stop()
	unreadable(s)
}

// unreadable: the folder of a page is closed to the server, and opened again.
func unreadable(s *scene) {
	p := s.project(quickDrain)
	p.page("/a", 1, "")
	p.start([]string{"/", "/a"}, func(cmd *exec.Cmd) {
		if os.Geteuid() != 0 {
			return
		}
		const all = "-dac_override,-dac_read_search" // to root no folder is closed (capabilities(7))
		setpriv, err := exec.LookPath("setpriv")
		s.do(err)
		cmd.Path, cmd.Args = setpriv, []string{"setpriv", "--inh-caps=" + all, "--bounding-set=" + all, p.Program, "-quiet"}
	})
	p.load = p.loadWith("/a", pace, 4, 0)
	dir := filepath.Dir(filepath.Join(p.Dir, p.file("/a")))
	pid := p.servedBy("/a").pid
	s.do(os.Chmod(dir, 0))
	s.cleanup = append(s.cleanup, func() { os.Chmod(dir, 0o755) })
	p.page("/", 2, "") // all folders are looked at
	p.awaitEdit("/", 2, 20*time.Second)
	p.awaitLogged(5*time.Second, "cannot read a folder of pages")
	s.pause(2 * time.Second)
	s.want(p.servedBy("/a").pid == pid, "a page whose folder is closed has another worker")
	s.do(os.Chmod(dir, 0o755))
	p.page("/a", 2, "")
	took := p.awaitEdit("/a", 2, 20*time.Second)
	p.load.check(nil)
	succeeded, failed := p.load.counts()
	s.figure("a folder made unreadable: %d requests of its page, failed: %s; a save served %d ms after it could be read again", succeeded, kinds(failed), took.Milliseconds())
}

// watcher: the kernel lost events, watches too little, or nothing at all.
func watcher(s *scene) {
	p := s.project(quickDrain)
	p.start([]string{"/"})
	queue := 16384
	if text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events"); err == nil {
		queue, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	suspend(p.PID())
	for i := range queue/2 + 1000 { // two events each
		s.do(p.Write(fmt.Sprintf("pages/index/notes/%d.txt", i%50), strconv.Itoa(i)))
	}
	p.page("/", 2, "")
	resume(p.PID())
	overflow := p.awaitEdit("/", 2, 20*time.Second)
	p.Stop()

	if out, err := exec.CommandContext(s.ctx, "unshare", "-Ur", "true").CombinedOutput(); err != nil {
		s.skip("limits of a watcher need user namespaces: %s", out)
		return
	}
	var took [2]time.Duration
	for i, limit := range []string{"max_inotify_watches", "max_inotify_instances"} {
		p := s.project(quickDrain)
		p.page("/a/b/c", 1, "")
		p.page("/d/e/f", 1, "")
		// The limit counts for the namespace, and so for this server only
		// (user_namespaces(7), "/proc/sys/user").
		script := fmt.Sprintf("echo %d >/proc/sys/user/%s && exec \"$0\" -quiet", []int{4, 0}[i], limit)
		p.start([]string{"/", "/a/b/c"}, func(cmd *exec.Cmd) {
			unshare, err := exec.LookPath("unshare")
			s.do(err)
			cmd.Path, cmd.Args = unshare, []string{"unshare", "-Ur", "sh", "-c", script, p.Program}
		})
		p.awaitLogged(5*time.Second, "cannot watch some files: comparing them twice a second instead")
		p.page("/a/b/c", 2, "")
		took[i] = p.awaitEdit("/a/b/c", 2, 20*time.Second)
		p.page("/new", 1, "")
		p.awaitEdit("/new", 1, 20*time.Second)
		p.Stop()
	}
	s.figure("a save among %d lost events served after %.1f s; with a limit of 4 watches after %.1f s, without any watcher after %.1f s, and a warning each", queue/2+1000, overflow.Seconds(), took[0].Seconds(), took[1].Seconds())
	s.elsewhere()
}

// elsewhere saves where only another sees it, as on a network mount.
func (s *scene) elsewhere() {
	p := s.project(quickDrain)
	pages, there := filepath.Join(p.Dir, "pages"), filepath.Join(p.Dir, "there")
	s.do(os.Rename(pages, there))
	s.do(os.Mkdir(pages, 0o755))
	if out, err := exec.CommandContext(s.ctx, "bindfs", there, pages).CombinedOutput(); err != nil {
		s.skip("a mount that another changes needs bindfs: %v %s", err, out)
		return
	}
	s.cleanup = append(s.cleanup, func() { exec.Command("umount", "-l", pages).Run() })
	p.start([]string{"/"})
	p.awaitLogged(5*time.Second, "is on FUSE")
	s.do(p.Write("there/index/main.go", pageText(2, "")))
	took := p.awaitEdit("/", 2, 20*time.Second)
	p.Stop()
	s.do(exec.CommandContext(s.ctx, "umount", pages).Run())
	s.await(5*time.Second, "bindfs has ended", func() bool { return len(p.processes()) == 0 })
	s.figure("saved behind a FUSE mount after %.1f s", took.Seconds())
}
