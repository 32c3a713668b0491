package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestANewcomersFirstErrorsSayWhatToDo has the go command say what it says to
// those who begin a project of their own.
func TestANewcomersFirstErrorsSayWhatToDo(t *testing.T) {
	parallel(t)
	const page = "package main\n\nimport \"tqserver/pkg/worker\"\n\nfunc main() { worker.Run() }\n"
	server := filepath.Join(t.TempDir(), "server")
	const replace = "\n\nreplace tqserver => SERVER\n"
	lines := "Add these lines to go.mod, with the folder of tqserver's source: require tqserver v0.0.0, and replace tqserver => FOLDER."
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing said of the server": {map[string]string{"go.mod": "module demo\n\ngo 1.26\n"}, lines},
		"required only":              {map[string]string{"go.mod": "module demo\n\ngo 1.26\n\nrequire tqserver v0.0.0\n"}, lines},
		"replaced only":              {map[string]string{"go.mod": "module demo\n\ngo 1.26" + replace}, "Add this line to go.mod: require tqserver v0.0.0"},
		"an old go line":             {map[string]string{"go.mod": "module demo\n\ngo 1.21\n\nrequire tqserver v0.0.0" + replace}, `go.mod says go 1.21, and SERVER/go.mod needs go 1.26.0: change that line to "go 1.26.0", or run "go mod tidy" in the project's folder.`},
		"no go line":                 {map[string]string{"go.mod": "module demo\n\nrequire tqserver v0.0.0" + replace}, `change that line to "go 1.26.0"`},
		"a module of the page's own": {map[string]string{"pages/a/go.mod": "module demo\n\ngo 1.21\n\nrequire tqserver v0.0.0" + replace}, `pages/a/go.mod says go 1.21`},
		"a sum that is missing":      {map[string]string{"pages/a/go.mod": "module demo\n\ngo 1.26\n\nrequire example.com/x v1.0.0\n"}, `Run "go mod download example.com/x" in pages/a.`},
		"an old go.work":             {map[string]string{"go.mod": "module demo\n\ngo 1.26\n", "go.work": "go 1.21\n\nuse .\n"}, `Run "go work use" in the project's folder.`},
		"no go.mod":                  {map[string]string{"go.mod": ""}, `run "go mod init NAME" in the project's folder`},
	} {
		files := map[string]string{"pages/a/main.go": page}
		for file, text := range c.files {
			files[file] = strings.ReplaceAll(text, "SERVER", server)
		}
		p := newProject(t, files)
		p.Configure("", map[string]string{"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "", "GO111MODULE": "on"})
		p.write("../../"+filepath.Base(filepath.Dir(server))+"/server/go.mod", "module tqserver\n\ngo 1.26.0\n")
		p.write("../../"+filepath.Base(filepath.Dir(server))+"/server/pkg/worker/x.go", "package worker\n\nfunc Run() {}\n")
		if name == "no go.mod" {
			p.remove("go.mod")
		}
		res, err := p.Build(t.Context(), p.page, false)
		if err != nil || len(res.Problems) == 0 {
			t.Errorf("%s: Build is %+v, %v", name, res, err)
			continue
		}
		if got, want := res.Problems[0].Message, strings.ReplaceAll(c.want, "SERVER", server); !strings.Contains(got, want) {
			t.Errorf("%s: it says\n%s\nand not\n%s", name, got, want)
		}
	}
}

func TestWhatNeedsNoHintHasNone(t *testing.T) {
	for module, messages := range map[string][]string{
		"ex": {"undefined: x", "package ex/lib is not in std (/usr/local/go/src/ex/lib)", "tqserver/pkg/worker redeclared in this block", "tqserver@v0.0.0: replacement directory ./nowhere does not exist"},
		// The server's own.
		"tqserver": {"package tqserver/pkg/nonsense is not in std (/usr/local/go/src/tqserver/pkg/nonsense)"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module "+module+"\n\ngo 1.26\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, message := range messages {
			if got := hint(message, dir, dir); got != "" {
				t.Errorf("%s: %s", message, got)
			}
		}
	}
}
