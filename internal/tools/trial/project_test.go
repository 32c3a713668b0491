package trial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// A test binary that is run with this variable is a program that prints its
// arguments to a file of that name, and waits for SIGTERM.
const fakeServer = "TRIAL_FAKE_SERVER"

func TestMain(m *testing.M) {
	if file := os.Getenv(fakeServer); file != "" {
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		os.WriteFile(file, []byte(strings.Join(os.Args[1:], " ")), 0o600)
		<-ended
		os.Exit(7)
	}
	os.Exit(m.Run())
}

func TestAProjectIsAModuleWithAConfiguration(t *testing.T) {
	t.Parallel()
	p, err := New(filepath.Join(t.TempDir(), "a", "b"), "/repo", "/repo/bin/tqserver", "  start: on_demand\n")
	if err != nil {
		t.Fatal(err)
	}
	port := p.FirstPort - 1
	if want := fmt.Sprintf("http://127.0.0.1:%d", port); p.URL != want || "http://"+p.Address != want {
		t.Errorf("the project is at %s, %s; want %s", p.URL, p.Address, want)
	}
	for name, want := range map[string]string{
		"go.mod":             "module trial\n\ngo 1.26.0\n\nrequire tqserver v0.0.0\n\nreplace tqserver => /repo\n",
		"config/server.yaml": fmt.Sprintf("server:\n  port: %d\nworkers:\n  temp_dir: bin\n  port_range_start: %d\n  port_range_end: %d\n  start: on_demand\n", port, port+1, port+workers-1),
	} {
		if text, err := os.ReadFile(filepath.Join(p.Dir, name)); string(text) != want || err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

func TestFreePortsAreFree(t *testing.T) {
	t.Parallel()
	first, err := FreePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	for port := first; port < first+3; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Skip("another program has taken it meanwhile:", err)
		}
		defer l.Close()
	}
}

func TestAServerIsStartedAndEnded(t *testing.T) {
	t.Parallel()
	itself, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Project{Dir: t.TempDir(), Program: itself}
	started := filepath.Join(p.Dir, "started")
	p.Stop() // there is none
	if err := p.Start(t.Context(), func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), fakeServer+"="+started) }); err != nil {
		t.Fatal(err)
	}
	for {
		if text, err := os.ReadFile(started); err == nil && string(text) == "-quiet" {
			break
		}
		if err := Pause(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if mib, err := p.Memory("VmRSS"); err == nil && (mib < 1 || mib > 1000) {
		t.Errorf("it has %v MiB", mib)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Ended(ctx); err == nil {
		t.Error("it has ended by itself")
	}
	p.Signal(syscall.SIGTERM)
	if code, err := p.Ended(t.Context()); code != 7 || err != nil {
		t.Errorf("it ended with %d, %v", code, err)
	}
	p.Stop()
}

func TestAResponseIsAwaited(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		if n < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, "%s %d", r.URL.Path, n)
	}))
	defer server.Close()
	p := &Project{URL: server.URL}
	if err := p.AwaitAll(t.Context(), []string{"/a", "/b"}, "/"); err != nil {
		t.Error(err)
	}
	if n := requests.Load(); n != 4 {
		t.Errorf("there were %d requests, not 3 for /a and one for /b", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Await(ctx, server.URL, "never"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestTheRepositoryIsTheModuleAround(t *testing.T) {
	t.Parallel()
	repo, err := Repository(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(repo, "go.mod")); err != nil || !strings.HasPrefix(string(text), "module tqserver\n") {
		t.Errorf("%s is the repository: %v\n%s", repo, err, text)
	}
	if err := Build(t.Context(), t.TempDir(), filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "build the server: ") {
		t.Errorf("a server is built of nothing: %v", err)
	}
}
