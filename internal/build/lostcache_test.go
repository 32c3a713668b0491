package build

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// failing puts a go command into PATH whose first builds fail with a message.
func failing(t *testing.T, times int, file, message string) (builds func() int) {
	t.Helper()
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log, says := filepath.Join(dir, "log"), filepath.Join(dir, "says")
	script := fmt.Sprintf(`#!/bin/sh
if [ "$1" = build ]; then
	echo >>%[1]s
	if [ $(wc -l <%[1]s) -le %[2]d ]; then cat %[3]s; exit 1; fi
fi
exec %[4]s "$@"
`, log, times, says, real)
	event := fmt.Sprintf("{\"ImportPath\":\"ex/pages/a\",\"Action\":\"build-output\",\"Output\":%q}\n", file+": "+message+"\n")
	for path, text := range map[string]string{filepath.Join(dir, "go"): script, says: event} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() int {
		text, _ := os.ReadFile(log)
		return strings.Count(string(text), "\n")
	}
}

func TestABuildWhoseCacheWasEmptiedIsMadeAgain(t *testing.T) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	hash := strings.Repeat("0f", 32)
	for name, c := range map[string]struct{ file, message string }{
		"an archive":       {"main.go:3:8", "could not import fmt (open /home/me/.cache/go-build/0f/" + hash + "-d: no such file or directory)"},
		"a package":        {src + "/internal/reflectlite/value.go:11:2", "package runtime is not in std (" + src + "/runtime)"},
		"what is linked":   {"link", "cannot open file /cache/0f/" + hash + "-d: open /cache/0f/" + hash + "-d: no such file or directory"},
		"a module's file":  {"main.go:3:8", "open /root/go/pkg/mod/example.com/lib@v1.0.0/x.go: no such file or directory"},
		"an entry of list": {"main.go:3:8", "open /cache/0f/" + hash + "-a: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) { // not parallel: PATH is of the process
			p := newProject(t, nil)
			builds := failing(t, 2, c.file, c.message)
			if got := p.prints(p.good()); got != "hello" {
				t.Errorf("it prints %q", got)
			}
			if n := builds(); n != 3 {
				t.Errorf("the go command built %d times", n)
			}
			p.write("pages/a/main.go", helloPage+"var x = 1\n")
			builds = failing(t, 100, c.file, c.message)
			if res, err := p.Build(t.Context(), p.page, false); err == nil || !strings.Contains(err.Error(), "cache is emptied again and again") {
				t.Errorf("a cache that is always empty: %+v, %v", res, err)
			}
			if n := builds(); n > maxAttempts+1 { // one more for a plan
				t.Errorf("the go command built %d times", n)
			}
		})
	}
}

func TestWhatIsWrongWithAProgramIsNotBuiltAgain(t *testing.T) {
	for _, message := range []string{"package nonsense is not in std (/usr/local/go/src/nonsense)", "undefined: x", "open web/a.txt: no such file or directory"} {
		p := newProject(t, nil)
		builds := failing(t, 100, "main.go:3:8", message)
		res, err := p.Build(t.Context(), p.page, false)
		if err != nil || len(res.Problems) != 1 || builds() != 1 {
			t.Errorf("%s: %+v, %v after %d builds", message, res, err, builds())
		}
	}
}
