package build

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"tqserver/internal/project"
)

func TestWithoutAHomeCachesLieInTheTempFolder(t *testing.T) {
	parallel(t)
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	p := newProject(t, nil)
	file := filepath.Join(p.root, "go.mod") // no folder can be made in it
	for name, c := range map[string]struct {
		env  map[string]string
		want []string
	}{
		"no home":                   {nil, []string{"GOCACHE", "GOMODCACHE"}},
		"a home that cannot be":     {map[string]string{"HOME": filepath.Join(file, "nobody")}, []string{"GOCACHE", "GOMODCACHE"}},
		"a cache that cannot be":    {map[string]string{"HOME": p.root, "XDG_CACHE_HOME": file}, []string{"GOCACHE"}},
		"a relative cache":          {map[string]string{"HOME": p.root, "XDG_CACHE_HOME": "here"}, []string{"GOCACHE"}},
		"only a place for modules":  {map[string]string{"GOPATH": p.root}, []string{"GOCACHE"}},
		"only one for what is made": {map[string]string{"GOCACHE": p.root}, []string{"GOMODCACHE"}},
		"a home that can be made":   {map[string]string{"HOME": filepath.Join(p.root, "home")}, nil},
		"both by name":              {map[string]string{"GOCACHE": p.root, "GOMODCACHE": p.root}, nil},
	} {
		if strings.Contains(name, "cache") && runtime.GOOS == "darwin" {
			continue // it knows no XDG_CACHE_HOME
		}
		env := map[string]string{"HOME": "", "XDG_CACHE_HOME": "", "GOCACHE": "", "GOMODCACHE": "", "GOPATH": "", "GOENV": "off"}
		for key, value := range c.env {
			env[key] = value
		}
		var got []string
		for _, kv := range (environment{env: env}).caches(p.temp) {
			key, dir, _ := strings.Cut(kv, "=")
			if !project.Contains(p.temp, dir) {
				t.Errorf("%s: %s is not in the temp folder", name, kv)
			}
			got = append(got, key)
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%s: given are %v, want %v", name, got, c.want)
		}
	}

	p.env = map[string]string{"HOME": "", "XDG_CACHE_HOME": "", "GOCACHE": "", "GOMODCACHE": "", "GOPATH": "", "GOENV": "", "XDG_CONFIG_HOME": "", "CGO_ENABLED": "0"}
	p.Builder = p.again()
	var said []string
	p.opts.Notify = func(text string) { said = append(said, text) }
	if err := os.Symlink(strings.TrimSpace(string(cache)), filepath.Join(p.temp, "go-build")); err != nil { // or all would be compiled anew
		t.Fatal(err)
	}
	if got := p.prints(p.good()); got != "hello" {
		t.Errorf("it prints %q", got)
	}
	p.write("pages/a/main.go", helloPage+"\nvar _ = 1\n")
	p.good()
	if len(said) != 1 || !strings.Contains(said[0], "GOCACHE="+filepath.Join(p.temp, "go-build")) {
		t.Errorf("said is %q", said)
	}
}
