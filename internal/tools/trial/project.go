// Package trial makes projects in folders of their own and runs the real server
// on them, for the programs that measure it and that try to break it. They see
// what users see: responses, files, processes.
package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Timeout is how long anything may take at most.
const Timeout = 10 * time.Minute

// workers is the number of ports for workers.
const workers = 250

// Project is a folder of pages, and the server that runs them.
type Project struct {
	Dir       string
	Address   string
	URL       string
	FirstPort int // of the workers
	Instances int // workers of each page; the default if 0
	Program   string

	cmd   *exec.Cmd
	ended chan struct{}
}

// New makes a project without pages, whose module may import the repository's
// packages. Further lines of the configuration may follow those of workers.
func New(dir, repo, program, extra string) (*Project, error) {
	port, err := FreePorts(workers)
	if err != nil {
		return nil, err
	}
	p := &Project{Dir: dir, Address: fmt.Sprintf("127.0.0.1:%d", port), FirstPort: port + 1, Program: program}
	p.URL = "http://" + p.Address
	if err := p.Write("go.mod", "module trial\n\ngo 1.26.0\n\nrequire tqserver v0.0.0\n\nreplace tqserver => "+repo+"\n"); err != nil {
		return nil, err
	}
	return p, p.Configure(port+workers-1, extra)
}

// Configure writes the configuration, with the last of the ports for workers and
// further lines that may follow those of workers.
func (p *Project) Configure(lastPort int, extra string) error {
	return p.Write("config/server.yaml", p.Configuration(lastPort, extra))
}

// Configuration returns what Configure writes.
func (p *Project) Configuration(lastPort int, extra string) string {
	if p.Instances > 0 && !strings.Contains(extra, "instances:") {
		const section = "  default:\n"
		if !strings.Contains(extra, section) {
			extra = section + extra
		}
		extra = strings.Replace(extra, section, fmt.Sprintf("%s    instances: %d\n", section, p.Instances), 1)
	}
	return fmt.Sprintf("server:\n  port: %d\nworkers:\n  temp_dir: bin\n  port_range_start: %d\n  port_range_end: %d\n%s", p.FirstPort-1, p.FirstPort, lastPort, extra)
}

// Write writes a file of the project, and the folder that holds it.
func (p *Project) Write(name, text string) error {
	file := filepath.Join(p.Dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// FreePorts returns the first of n ports in a row that nobody listens on.
func FreePorts(n int) (int, error) {
next:
	for range 100 {
		first := 20_000 + rand.N(10_000)
		for port := first; port < first+n; port++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				continue next
			}
			l.Close()
		}
		return first, nil
	}
	return 0, fmt.Errorf("there are no %d free ports in a row", n)
}

// Start starts the server, headless, and stops it when ctx ends. Each of
// adjust may change how it is run.
func (p *Project) Start(ctx context.Context, adjust ...func(*exec.Cmd)) error {
	p.cmd = exec.CommandContext(ctx, p.Program, "-quiet")
	p.cmd.Dir, p.cmd.Stderr = p.Dir, os.Stderr
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	for _, f := range adjust {
		f(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() { cmd.Wait(); close(ended) }() // ends with the server
	return nil
}

// PID returns the process that was started last.
func (p *Project) PID() int { return p.cmd.Process.Pid }

// Signal sends the server a signal.
func (p *Project) Signal(sig os.Signal) { p.cmd.Process.Signal(sig) }

// Ended waits until the server has ended, and returns its exit code: -1 if a
// signal ended it.
func (p *Project) Ended(ctx context.Context) (code int, err error) {
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, errors.New("the server does not end")
	}
}

// Stop ends the server in order, if it runs.
func (p *Project) Stop() {
	if p.ended != nil {
		p.Signal(syscall.SIGTERM)
		<-p.ended
		p.ended = nil
	}
}

// Client uses no proxy, and keeps its connections.
var Client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: Timeout}

// Get returns the body of a response, whose status must be 200.
func Get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := Client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: status %d: %s", url, resp.StatusCode, text)
	}
	return string(text), err
}

// Await repeats a request until the response contains a text.
func Await(ctx context.Context, url, text string) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	for {
		body, err := Get(ctx, url)
		if err == nil && strings.Contains(body, text) {
			return nil
		}
		if Pause(ctx, 2*time.Millisecond) != nil {
			return fmt.Errorf("GET %s does not respond with %q but %.200q: %w", url, text, body, err)
		}
	}
}

// AwaitAll repeats a request for each path until the response contains a text.
func (p *Project) AwaitAll(ctx context.Context, paths []string, text string) error {
	for _, path := range paths {
		if err := Await(ctx, p.URL+path, text); err != nil {
			return err
		}
	}
	return nil
}

// Pause waits, unless the context ends.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Memory returns a line of the server's status in MiB: VmRSS is what it has, and
// VmHWM the most it ever had.
func (p *Project) Memory(line string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), line+":")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	return float64(kib) / 1024, err
}

// AwaitRest waits until the server has run no tool for a second: then it has built
// all pages, and recorded their inputs and plans.
func (p *Project) AwaitRest(ctx context.Context) error {
	for quiet := time.Now(); time.Since(quiet) < time.Second; {
		if err := Pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		if p.builds() {
			quiet = time.Now()
		}
	}
	return nil
}

// tools are what a build runs, by their names in /proc.
var tools = []string{"go\n", "compile\n", "link\n"}

// builds reports whether one of them is among the server's children (proc(5),
// /proc/PID/task/TID/children).
func (p *Project) builds() bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.PID()))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for pid := range strings.FieldsSeq(string(text)) {
			if name, _ := os.ReadFile("/proc/" + pid + "/comm"); slices.Contains(tools, string(name)) {
				return true
			}
		}
	}
	return false
}
