package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long anything may take.
const patience = 10 * time.Minute

// project is a folder of pages, and the server that runs them.
type project struct {
	bench   *bench
	dir     string
	url     string
	address string
	extra   string // of the configuration

	cmd   *exec.Cmd
	ended chan struct{}
}

// newProject makes a project without pages. Further lines of the configuration
// may follow those of workers.
func (b *bench) newProject(name, extra string) (*project, error) {
	p := &project{bench: b, dir: filepath.Join(b.dir, name), extra: extra}
	port, err := freePorts(250)
	if err != nil {
		return nil, err
	}
	p.address = fmt.Sprintf("127.0.0.1:%d", port)
	p.url = "http://" + p.address
	if err := p.write("go.mod", "module bench\n\ngo 1.26.0\n\nrequire tqserver v0.0.0\n\nreplace tqserver => "+b.repo+"\n"); err != nil {
		return nil, err
	}
	return p, p.write("config/server.yaml", fmt.Sprintf("server:\n  port: %d\nworkers:\n  temp_dir: bin\n  port_range_start: %d\n  port_range_end: %d\n%s", port, port+1, port+249, extra))
}

func (p *project) write(name, text string) error {
	file := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// freePorts returns the first of n ports in a row that nobody listens on.
func freePorts(n int) (int, error) {
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

// start starts the server, headless.
func (p *project) start(ctx context.Context) error {
	p.cmd = exec.CommandContext(ctx, p.bench.program, "-quiet")
	p.cmd.Dir, p.cmd.Stderr = p.dir, os.Stderr
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	if err := p.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.ended = ended
	go func() { p.cmd.Wait(); close(ended) }() // ends with the server
	return nil
}

func (p *project) stop() {
	if p.ended != nil {
		p.cmd.Process.Signal(syscall.SIGTERM)
		<-p.ended
		p.ended = nil
	}
}

// direct has no proxy in between, and its connections are kept.
var direct = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: patience}

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := direct.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s answered %d: %s", url, resp.StatusCode, text)
	}
	return string(text), err
}

// await asks until the answer holds a text.
func await(ctx context.Context, url, text string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		answer, err := get(ctx, url)
		if err == nil && strings.Contains(answer, text) {
			return nil
		}
		if pause(ctx, 2*time.Millisecond) != nil {
			return fmt.Errorf("GET %s does not answer %q: %w", url, text, err)
		}
	}
}

func (p *project) awaitAll(ctx context.Context, paths []string, text string) error {
	for _, path := range paths {
		if err := await(ctx, p.url+path, text); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// memory returns a line of the server's status in MiB: VmRSS is what it has, and
// VmHWM the most it ever had.
func (p *project) memory(line string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), line+":")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	return float64(kib) / 1024, err
}

// pageText is a page that tells which edit it is of.
func pageText(edit string, imports ...string) string {
	shared := "``"
	lines := ""
	for _, path := range imports {
		lines += "\n\t\"" + path + "\""
		shared = "shared.Text"
	}
	return `package main

import (
	"fmt"
	"log"
	"net/http"
` + lines + `
	"tqserver/pkg/worker"
)

const edit = "` + edit + `"

func main() {
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s <%s> %s\n", r.URL.Path, edit, ` + shared + `)
	})
	log.Fatal(runtime.StartServer(mux))
}
`
}
