package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// testTimeout limits how long a test waits.
const testTimeout = time.Minute

var binary string // of the server

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "tqserver")
	build := exec.Command("go", "build", "-o", binary, "./cmd/tqserver")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// project is a server with its pages.
type project struct {
	*testing.T
	root string
	url  string
	log  string
}

// newProject starts a server in development mode on files given by path.
func newProject(t *testing.T, files map[string]string) *project {
	t.Helper()
	p := &project{T: t, root: t.TempDir()}
	p.log = filepath.Join(p.root, "server.log")
	front := freePorts(t, 42)
	p.url = fmt.Sprintf("http://localhost:%d", front)
	p.write("go.mod", "module shop\n\ngo 1.26.0\n")
	p.write("config/server.yaml", fmt.Sprintf("server: {port: %d, log_file: server.log, log_format: json}\nworkers: {temp_dir: bin, port_range_start: %d, port_range_end: %d}\n", front, front+1, front+41))
	for name, text := range files {
		p.write(name, text)
	}
	cmd := exec.Command(binary, "-quiet", "-dev", "-config", filepath.Join(p.root, "config/server.yaml"))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("%s", text)
		}
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server did not end in order: %v", err)
		}
	})
	p.await("the server listens", func() bool {
		resp, err := http.Get(p.url + "/_tqserver/nothing")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	return p
}

// freePorts returns the first of n consecutive free ports below the ephemeral ones.
func freePorts(t *testing.T, n int) int {
	t.Helper()
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
		return first
	}
	t.Fatalf("there are no %d free ports in a row", n)
	return 0
}

// write saves a file as editors do that replace it.
func (p *project) write(name, text string) {
	p.Helper()
	file := filepath.Join(p.root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(file+"~", []byte(text), 0o644); err != nil {
		p.Fatal(err)
	}
	if err := os.Rename(file+"~", file); err != nil {
		p.Fatal(err)
	}
}

func (p *project) await(what string, done func() bool) {
	p.Helper()
	end := time.Now().Add(testTimeout)
	for !done() {
		if time.Now().After(end) {
			p.Fatalf("not within %v: %s", testTimeout, what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// event is a line of the server's log.
type event struct {
	Time  time.Time
	Msg   string
	Page  string
	Build int
	Err   string
}

// events returns the log lines with a message about a page.
func (p *project) events(page, msg string) (all []event) {
	f, err := os.Open(p.log)
	if err != nil {
		return nil
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var e event
		if json.Unmarshal(in.Bytes(), &e) == nil && e.Page == page && strings.Contains(e.Msg, msg) {
			all = append(all, e)
		}
	}
	return all
}

// serves waits until a page responds with a text.
func (p *project) serves(path, text string) {
	p.Helper()
	p.await(path+" serves "+text, func() bool {
		resp, err := http.Get(p.url + path)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body := new(strings.Builder)
		bufio.NewReader(resp.Body).WriteTo(body)
		return resp.StatusCode == 200 && strings.Contains(body.String(), text)
	})
}

// navigate returns what a tab without scripts shows at a path.
func (p *project) navigate(path string) string {
	p.Helper()
	r, err := http.NewRequestWithContext(p.Context(), http.MethodGet, p.url+path, nil)
	if err != nil {
		p.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	return string(body)
}

// page is a program that responds with HTML. %s in it stands for header and body.
func page(route, header, body string) string {
	return fmt.Sprintf(`package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc(%q, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		%s
		fmt.Fprint(w, %q)
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("TQ_PORT"), nil))
}
`, route, header, body)
}

func hello(text string) string {
	return page("/", "", "<!doctype html><html><body><h1>"+text+"</h1></body></html>")
}
