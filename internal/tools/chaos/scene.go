package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tqserver/internal/tools/trial"
)

// A scene is the surroundings of one fault: projects, their servers, and the
// clients that request pages.
type scene struct {
	fault
	options
	ctx     context.Context
	dir     string
	repo    string
	program string
	rnd     *rand.Rand

	began    time.Time
	took     time.Duration
	projects []*sceneProject
	broken   []string // promises that did not hold
	figures  []string // what was seen
	skipped  []string // why something was not tried
	logs     []string // the end of each server's log, if a promise was broken
	cleanup  []func()
}

// errAbandoned ends a scene that cannot go on.
var errAbandoned = errors.New("errAbandoned")

// run injects the fault and cleans up.
func (s *scene) run() {
	s.began = time.Now()
	defer func() {
		for _, p := range s.projects {
			p.stopAll()
		}
		for i := len(s.cleanup) - 1; i >= 0; i-- {
			s.cleanup[i]()
		}
		s.took = time.Since(s.began)
		if r := recover(); r != nil && r != errAbandoned {
			panic(r)
		}
	}()
	s.inject(s)
}

func (s *scene) String() string {
	var b strings.Builder
	verdict := "held"
	switch {
	case len(s.broken) > 0:
		verdict = "BROKEN"
	case len(s.figures) == 0:
		verdict = "skipped"
	}
	fmt.Fprintf(&b, "%-14s %-7s %5.1fs  %s\n", s.name, verdict, s.took.Seconds(), strings.Join(s.figures, "; "))
	for _, text := range s.broken {
		fmt.Fprintf(&b, "    broken: %s\n", text)
	}
	for _, text := range s.skipped {
		fmt.Fprintf(&b, "    skipped: %s\n", text)
	}
	for _, log := range s.logs {
		fmt.Fprintf(&b, "    the end of a log:\n%s", log)
	}
	return b.String()
}

// want records a broken promise unless ok.
func (s *scene) want(ok bool, format string, args ...any) bool {
	if !ok {
		s.broken = append(s.broken, fmt.Sprintf(format, args...))
	}
	return ok
}

// must ends the scene unless ok.
func (s *scene) must(ok bool, format string, args ...any) {
	if !s.want(ok, format, args...) || s.ctx.Err() != nil {
		panic(errAbandoned)
	}
}

// do ends the scene if something other than a promise failed.
func (s *scene) do(err error) {
	if err != nil {
		s.must(false, "%v", err)
	}
}

// figure records a result.
func (s *scene) figure(format string, args ...any) {
	s.figures = append(s.figures, fmt.Sprintf(format, args...))
}

func (s *scene) skip(format string, args ...any) {
	s.skipped = append(s.skipped, fmt.Sprintf(format, args...))
}

// count returns long, or short in the short form.
func (s *scene) count(long, short int) int {
	if s.short {
		return short
	}
	return long
}

func (s *scene) duration(long, short time.Duration) time.Duration {
	if s.short {
		return short
	}
	return long
}

func (s *scene) pause(d time.Duration) {
	if trial.Pause(s.ctx, d) != nil {
		panic(errAbandoned)
	}
}

// await waits until something holds, as promised.
func (s *scene) await(within time.Duration, what string, holds func() bool) (took time.Duration, ok bool) {
	began := time.Now()
	for !holds() {
		if time.Since(began) > within {
			return within, s.want(false, "not within %v: %s", within, what)
		}
		s.pause(5 * time.Millisecond)
	}
	return time.Since(began), true
}

// removeAll removes a folder. The server may write into it meanwhile, so it may take
// several attempts.
func (s *scene) removeAll(dir string) {
	err := os.RemoveAll(dir)
	for range 100 {
		if !errors.Is(err, syscall.ENOTEMPTY) {
			break
		}
		s.pause(10 * time.Millisecond)
		err = os.RemoveAll(dir)
	}
	s.do(err)
}

// perPage is how many workers a page has.
func (s *scene) perPage() int { return max(1, s.instances) }

// asRoot reports whether this is root, and records what is skipped otherwise.
func (s *scene) asRoot(what string) bool {
	if os.Geteuid() == 0 {
		return true
	}
	s.skip("%s needs root", what)
	return false
}

// mount mounts a small file system on a folder.
func (s *scene) mount(dir, opts string) bool {
	if !s.asRoot("a disk of its own") {
		return false
	}
	s.do(os.MkdirAll(dir, 0o700))
	if out, err := exec.CommandContext(s.ctx, "mount", "-t", "tmpfs", "-o", opts, "tmpfs", dir).CombinedOutput(); err != nil {
		s.skip("mount: %s", out)
		return false
	}
	s.cleanup = append(s.cleanup, func() { exec.Command("umount", "-l", dir).Run() })
	return true
}

// sceneProject is a project of a scene.
type sceneProject struct {
	*trial.Project
	s     *scene
	extra string
	load  *load
}

// project makes a project with the page /, in the first edit. Further lines of
// the configuration may follow those of workers.
func (s *scene) project(extra string) *sceneProject {
	inner, err := trial.New(filepath.Join(s.dir, strconv.Itoa(len(s.projects))), s.repo, s.program, extra)
	s.do(err)
	p := &sceneProject{Project: inner, s: s, extra: extra}
	if s.instances > 1 {
		p.Instances = s.instances
		p.configure(240, extra)
	}
	s.projects = append(s.projects, p)
	p.page("/", 1, "")
	return p
}

// configure writes the configuration anew.
func (p *sceneProject) configure(ports int, extra string) {
	p.extra = extra
	p.s.do(p.Configure(p.FirstPort+ports-1, extra))
}

// page saves a page.
func (p *sceneProject) page(route string, edit int, mode string) {
	p.s.do(p.Write(p.file(route), pageText(edit, mode)))
}

func (p *sceneProject) file(route string) string {
	if route == "/" {
		route = "/index"
	}
	return filepath.Join("pages", route, "main.go")
}

// start starts the server and waits for the pages.
func (p *sceneProject) start(routes []string, adjust ...func(*exec.Cmd)) {
	p.launch(adjust...)
	for _, route := range routes {
		p.s.await(time.Minute, route+" responds", func() bool { _, err := p.get(route); return err == nil })
	}
}

// launch starts the server.
func (p *sceneProject) launch(adjust ...func(*exec.Cmd)) { p.s.do(p.Start(p.s.ctx, adjust...)) }

// startUnderLoad starts a server with the page / under load.
func (s *scene) startUnderLoad(extra string) *sceneProject {
	p := s.project(extra)
	p.start([]string{"/"})
	p.load = p.newLoad("/")
	return p
}

// wantEnd waits for the server to end, with an exit code.
func (p *sceneProject) wantEnd(within time.Duration, code int) time.Duration {
	ctx, cancel := context.WithTimeout(p.s.ctx, within)
	defer cancel()
	began := time.Now()
	got, err := p.Ended(ctx)
	took := time.Since(began)
	if !p.s.want(err == nil, "the server has not ended after %v", within) {
		p.Signal(syscall.SIGKILL)
		p.Ended(p.s.ctx)
		return took
	}
	p.s.want(got == code, "the server ended with %d, not %d", got, code)
	return took
}

// stopAll ends everything that still runs.
func (p *sceneProject) stopAll() {
	if p.load != nil {
		p.load.stop()
	}
	p.Stop()
	for _, pid := range p.processes() {
		p.s.want(false, "left behind: %d %s", pid, name(pid))
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if len(p.s.broken) > 0 {
		lines := slices.Collect(strings.Lines(p.log()))
		p.s.logs = append(p.s.logs, strings.Join(lines[max(0, len(lines)-40):], ""))
	}
}

// reply is what a page says of itself.
type reply struct{ edit, pid int }

// get requests a page on a connection of its own.
func (p *sceneProject) get(path string) (reply, error) {
	c := &client{address: p.Address, timeout: 30 * time.Second}
	defer c.close()
	x := c.do("GET", path, "", "")
	if x.err != nil {
		return reply{}, x.err
	}
	return x.reply()
}

// awaitEdit waits until a page responds in an edit.
func (p *sceneProject) awaitEdit(route string, edit int, within time.Duration) time.Duration {
	took, _ := p.s.await(within, fmt.Sprintf("%s responds in edit %d", route, edit), func() bool {
		r, err := p.get(route)
		return err == nil && r.edit == edit
	})
	return took
}

// servedBy returns the worker and edit that serve a page now.
func (p *sceneProject) servedBy(route string) reply {
	r, err := p.get(route)
	p.s.want(err == nil, "GET %s: %v", route, err)
	return r
}

// log returns the server's log.
func (p *sceneProject) log() string {
	files, _ := filepath.Glob(filepath.Join(p.Dir, "logs", "server_*.log"))
	var all strings.Builder
	for _, file := range files {
		text, _ := os.ReadFile(file)
		all.Write(text)
	}
	return all.String()
}

// logged counts a text in the server's log.
func (p *sceneProject) logged(text string) int { return strings.Count(p.log(), text) }

func (p *sceneProject) awaitLogged(within time.Duration, text string) {
	p.s.await(within, "the log says "+strconv.Quote(text), func() bool { return p.logged(text) > 0 })
}

// tcp listens on a port, as another program would.
func (s *scene) tcp(port int) net.Listener {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	s.do(err)
	s.cleanup = append(s.cleanup, func() { l.Close() })
	return l
}
