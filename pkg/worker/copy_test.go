package worker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// pageOfACopy is a page of a project that has only a copy of the folder.
const pageOfACopy = `package main

import (
	"io"
	"log"
	"net/http"

	"example.com/other/lib/worker"
)

func main() {
	runtime, err := worker.NewRuntime()
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "from "+r.RemoteAddr) })
	if err := runtime.StartServer(nil); err != nil {
		log.Fatal(err)
	}
}
`

func TestTheFolderCanBeCopiedIntoAnotherModule(t *testing.T) {
	t.Parallel()
	module := t.TempDir()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) {
		t.Helper()
		path := filepath.Join(module, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write("lib/worker/"+name, content)
	}
	write("page/main.go", []byte(pageOfACopy))
	for _, args := range [][]string{{"mod", "init", "example.com/other"}, {"build", "-o", "program", "./page"}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = module
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}

	p := startProgram(t, filepath.Join(module, "program"), "TQ_SOCKET="+filepath.Join(t.TempDir(), "s"))
	if got := p.get("/"); !strings.HasPrefix(got, "from 127.0.0.1:") {
		t.Errorf("at its port it says %q", got)
	}
	if got := p.atSocket().get("/"); got != "from 127.0.0.1:0" {
		t.Errorf("at its socket it says %q", got)
	}
	p.signal(syscall.SIGTERM)
	if <-p.done; !p.cmd.ProcessState.Success() {
		t.Errorf("it ended with %v: %s", p.cmd.ProcessState, p.stderr)
	}
}
