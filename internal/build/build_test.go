package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tqserver/internal/project"
)

// TestMain puts a toolchain into PATH whose go command notes what it is asked
// for, in the file that GO_LOG names, and has the real one do it.
func TestMain(m *testing.M) {
	dir, err := recordingGo()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("PATH", filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { os.RemoveAll(dir); os.Exit(code) }))
}

func recordingGo() (dir string, err error) {
	real, err := exec.LookPath("go")
	if err != nil {
		return "", err
	}
	if real, err = filepath.EvalSymlinks(real); err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "go"); err != nil {
		return "", err
	}
	script := "#!/bin/sh\nif [ \"$GO_LOG\" ]; then echo \"$*\" >>\"$GO_LOG\"; fi\nexec '" + real + "' \"$@\"\n"
	err = errors.Join(os.Mkdir(filepath.Join(dir, "bin"), 0o755), os.WriteFile(filepath.Join(dir, "bin", "go"), []byte(script), 0o755))
	for _, name := range []string{"VERSION", "go.env"} { // or it would be the stand-in of a version manager
		err = errors.Join(err, os.Symlink(filepath.Join(filepath.Dir(real), "..", name), filepath.Join(dir, name)))
	}
	return dir, err
}

// compilers keeps those of parallel tests to two.
var compilers = make(chan struct{}, 2)

func parallel(t *testing.T) {
	t.Parallel()
	compilers <- struct{}{}
	t.Cleanup(func() { <-compilers })
}

// testProject is a folder with one page, and a Builder of it.
type testProject struct {
	*testing.T
	*Builder
	root, page string
	env        map[string]string // of the go command
	newest     string            // binary, of buildsByPlan
	log        string            // folder of what the go command was asked for

	mu      sync.Mutex
	watched map[string][]string // by page
}

const helloPage = "package main\n\nfunc main() { println(\"hello\") }\n"

// newProject makes a module ex with the files on top of a page that prints.
func newProject(t *testing.T, files map[string]string) *testProject {
	t.Helper()
	return openProject(t, filepath.Join(t.TempDir(), "my project"), files)
}

func openProject(t *testing.T, root string, files map[string]string) *testProject {
	t.Helper()
	p := &testProject{T: t, log: t.TempDir(), root: root, page: filepath.Join(root, "pages", "a"), watched: make(map[string][]string)}
	p.env = map[string]string{"GOFLAGS": "-mod=readonly", "GOPROXY": "off", "CGO_ENABLED": "0", "GO_LOG": filepath.Join(p.log, "go.log")}
	p.write("go.mod", "module ex\n\ngo 1.26\n")
	p.write("pages/a/main.go", helloPage)
	for name, text := range files {
		p.write(name, text)
	}
	p.Builder = p.server(t.TempDir(), "")
	return p
}

// server is a Builder as another start of the server would make it.
func (p *testProject) server(temp, ldflags string) *Builder {
	p.Helper()
	b, err := New(Options{TempDir: temp, Root: p.root, LDFlags: ldflags, Env: p.env, Watch: func(page string, paths []string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.watched[page] = paths
	}})
	if err != nil {
		p.Fatal(err)
	}
	return b
}

func (p *testProject) again() *Builder { return p.server(p.opts.TempDir, p.opts.LDFlags) }

func (p *testProject) path(name string) string {
	return filepath.Join(p.root, filepath.FromSlash(name))
}

func (p *testProject) write(name, text string) {
	p.Helper()
	path := p.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.Fatal(err)
	}
}

func (p *testProject) remove(name string) {
	p.Helper()
	if err := os.RemoveAll(p.path(name)); err != nil {
		p.Fatal(err)
	}
}

func (p *testProject) rename(from, to string) {
	p.Helper()
	if err := os.Rename(p.path(from), p.path(to)); err != nil {
		p.Fatal(err)
	}
}

// build builds the page, and learns until there is nothing more to learn.
func (p *testProject) build() Result {
	p.Helper()
	var res Result
	for range 3 {
		var err error
		if res, err = p.Build(p.Context(), p.page, false); err != nil {
			p.Fatal(err)
		}
		if res.InputsErr != nil {
			p.Log(res.InputsErr)
			return res
		}
		stale, err := p.Optimize(p.Context(), p.page)
		if err != nil {
			p.Fatal(err)
		}
		if !res.Stale && !stale {
			return res
		}
	}
	p.Fatal("the page is stale whenever it was built")
	return res
}

// good builds the page, which must succeed, and returns the binary.
func (p *testProject) good() string {
	p.Helper()
	res := p.build()
	if res.Binary == "" {
		p.Fatalf("does not build: %v", res.Problems)
	}
	return res.Binary
}

// ran returns the go commands that ran since it was asked last, but for those
// that tell of the toolchain: "build" or "list", each with the pages.
func (p *testProject) ran() (commands []string) {
	p.Helper()
	text, err := os.ReadFile(filepath.Join(p.log, "go.log"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.Fatal(err)
	}
	os.Remove(filepath.Join(p.log, "go.log"))
	for line := range strings.Lines(string(text)) {
		args := strings.Fields(line)
		if verb := args[0]; verb == "build" || verb == "list" {
			pages := slices.DeleteFunc(args[1:], func(a string) bool { return a[0] != '.' })
			commands = append(commands, strings.Join(append([]string{verb}, pages...), " "))
		}
	}
	return commands
}

func (p *testProject) prints(binary string) string {
	p.Helper()
	out, err := exec.CommandContext(p.Context(), binary).CombinedOutput()
	if err != nil {
		p.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// wantChange checks that the change of files is noticed: the page is affected
// by it, one of them or its folder was watched, and the binary is not used again.
func (p *testProject) wantChange(change func(), paths ...string) {
	p.Helper()
	p.mu.Lock()
	seen := false
	for _, path := range paths {
		path = p.path(path)
		seen = seen || project.Contains(filepath.Join(p.root, "pages"), path) || slices.ContainsFunc(p.watched[p.page], func(watched string) bool {
			return project.Contains(path, watched) || watched == filepath.Dir(path) // the way to it is watched too
		})
	}
	p.mu.Unlock()
	if !seen {
		p.Errorf("nobody watches for %v", paths)
	}
	change()
	var abs []string
	for _, path := range paths {
		abs = append(abs, p.path(path))
	}
	if got := p.Affected(abs); got[p.page] == "" {
		p.Errorf("%v do not concern the page", paths)
	}
	for _, b := range []*Builder{p.again(), p.Builder} { // the second knows nothing of what the first has written down
		if res, err := b.Build(p.Context(), p.page, false); err == nil && res.Cached {
			p.Errorf("after a change of %v the old binary is used", paths)
		}
	}
	p.build()
}

func TestAnUnchangedPageIsNotCompiled(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	first := p.build()
	if first.Cached || first.Binary == "" || p.prints(first.Binary) != "hello" {
		t.Fatalf("the first build is %+v", first)
	}
	if second := p.build(); !second.Cached || second.Binary != first.Binary {
		t.Errorf("the second build is %+v", second)
	}
	if res, err := p.again().Build(t.Context(), p.page, false); err != nil || !res.Cached || res.Binary != first.Binary {
		t.Errorf("another start builds %+v, %v", res, err)
	}
	if res, err := p.Build(t.Context(), p.page, true); err != nil || res.Cached || res.Binary != first.Binary {
		t.Errorf("a forced build is %+v, %v", res, err)
	}
}

func TestWhatGoesIntoABinaryIsNoticed(t *testing.T) {
	lib := map[string]string{
		"lib/lib.go":        "package lib\n\nvar X = 1\n",
		"pages/a/main.go":   "package main\n\nimport \"ex/lib\"\n\nfunc main() { println(lib.X) }\n",
		"pages/b/main.go":   helloPage,
		"unrelated/file.go": "package unrelated\n",
	}
	embedding := func(pattern string) map[string]string {
		return map[string]string{
			"assets/assets.go":           "package assets\n\nimport \"embed\"\n\n//go:embed " + pattern + "\nvar FS embed.FS\n",
			"assets/static/one.txt":      "1",
			"assets/static/deep/two.txt": "2",
			"pages/a/main.go":            "package main\n\nimport \"ex/assets\"\n\nfunc main() { println(assets.FS.Open(\"x\")) }\n",
		}
	}
	for name, c := range map[string]struct {
		files  map[string]string
		change func(p *testProject)
		paths  []string
	}{
		"an edit":             {nil, func(p *testProject) { p.write("pages/a/main.go", helloPage+"var x = 1\n") }, []string{"pages/a/main.go"}},
		"a new file":          {nil, func(p *testProject) { p.write("pages/a/b.go", "package main\n\nfunc init() { println() }\n") }, []string{"pages/a/b.go"}},
		"a renamed file":      {nil, func(p *testProject) { p.rename("pages/a/main.go", "pages/a/x.go") }, []string{"pages/a/main.go", "pages/a/x.go"}},
		"a removed file":      {map[string]string{"pages/a/b.go": "package main\n\nfunc init() { println() }\n"}, func(p *testProject) { p.remove("pages/a/b.go") }, []string{"pages/a/b.go"}},
		"a build tag":         {map[string]string{"pages/a/b.go": "package main\n"}, func(p *testProject) { p.write("pages/a/b.go", "//go:build never\n\npackage main\n") }, []string{"pages/a/b.go"}},
		"an import":           {lib, func(p *testProject) { p.write("lib/lib.go", "package lib\n\nvar X = 2\n") }, []string{"lib/lib.go"}},
		"a file of it":        {lib, func(p *testProject) { p.write("lib/new.go", "package lib\n\nfunc init() { X++ }\n") }, []string{"lib/new.go"}},
		"a moved import":      {lib, func(p *testProject) { p.rename("lib", "lib.away") }, []string{"lib"}},
		"a module of it":      {lib, func(p *testProject) { p.write("lib/go.mod", "module other\n") }, []string{"lib/go.mod"}},
		"a module of ours":    {nil, func(p *testProject) { p.write("pages/a/go.mod", "module a\n\ngo 1.25\n") }, []string{"pages/a/go.mod"}},
		"a module between":    {nil, func(p *testProject) { p.write("pages/go.mod", "module a\n\ngo 1.25\n") }, []string{"pages/go.mod"}},
		"go.mod":              {nil, func(p *testProject) { p.write("go.mod", "module ex\n\ngo 1.25\n") }, []string{"go.mod"}},
		"a profile":           {nil, func(p *testProject) { p.write("pages/a/default.pgo", "") }, []string{"pages/a/default.pgo"}},
		"no go.mod":           {nil, func(p *testProject) { p.remove("go.mod") }, []string{"go.mod"}},
		"go.sum":              {nil, func(p *testProject) { p.write("go.sum", "") }, []string{"go.sum"}},
		"a new go.work":       {nil, func(p *testProject) { p.write("go.work", "go 1.26\n\nuse .\n") }, []string{"go.work"}},
		"an embedded file":    {embedding("static/one.txt"), func(p *testProject) { p.write("assets/static/one.txt", "x") }, []string{"assets/static/one.txt"}},
		"one more":            {embedding("static/*"), func(p *testProject) { p.write("assets/static/new.txt", "x") }, []string{"assets/static/new.txt"}},
		"one in a folder":     {embedding("static"), func(p *testProject) { p.write("assets/static/deep/new.txt", "x") }, []string{"assets/static/deep/new.txt"}},
		"one in a new one":    {embedding("static"), func(p *testProject) { p.write("assets/static/new/x.txt", "x") }, []string{"assets/static/new", "assets/static/new/x.txt"}},
		"one fewer":           {embedding("static"), func(p *testProject) { p.remove("assets/static/deep/two.txt") }, []string{"assets/static/deep/two.txt"}},
		"a folder fewer":      {embedding("static/*/*.txt"), func(p *testProject) { p.rename("assets/static/deep", "assets/away") }, []string{"assets/static/deep"}},
		"a folder of folders": {embedding("*/deep/*.txt"), func(p *testProject) { p.rename("assets/static", "assets/other") }, []string{"assets/static", "assets/other"}},
		"a hidden one":        {embedding("all:static"), func(p *testProject) { p.write("assets/static/.x", "x") }, []string{"assets/static/.x"}},
		"a quoted one":        {embedding(`"static/*.txt"`), func(p *testProject) { p.write("assets/static/a b.txt", "x") }, []string{"assets/static/a b.txt"}},
		"a replaced module": {
			map[string]string{
				"go.mod":                "module ex\n\ngo 1.26\n\nrequire example.com/lib v1.0.0\n\nreplace example.com/lib => \"../other lib\"\n",
				"../other lib/go.mod":   "module example.com/lib\n\ngo 1.26\n",
				"../other lib/sub/x.go": "package sub\n\nvar X = 1\n",
				"pages/a/main.go":       "package main\n\nimport \"example.com/lib/sub\"\n\nfunc main() { println(sub.X) }\n",
			},
			func(p *testProject) { p.write("../other lib/sub/x.go", "package sub\n\nvar X = 2\n") }, []string{"../other lib/sub/x.go"},
		},
		"the go.mod of a replaced module": {
			map[string]string{
				"go.mod":        "module ex\n\ngo 1.26\n\nrequire example.com/lib v1.0.0\n\nreplace example.com/lib => ../lib\n",
				"../lib/go.mod": "module example.com/lib\n\ngo 1.26\n",
			},
			func(p *testProject) { p.write("../lib/go.mod", "module example.com/lib\n\ngo 1.25\n") }, []string{"../lib/go.mod"},
		},
		"a module of the workspace": {
			map[string]string{
				"go.work":      "go 1.26\n\nuse (\n\t.\n\t./other\n)\n",
				"other/go.mod": "module other\n\ngo 1.26\n",
			},
			func(p *testProject) { p.write("other/go.mod", "module other\n\ngo 1.25\n") }, []string{"other/go.mod"},
		},
		"a vendored package": {
			map[string]string{
				"go.mod":                      "module ex\n\ngo 1.26\n\nrequire example.com/lib v1.0.0\n",
				"vendor/modules.txt":          "# example.com/lib v1.0.0\n## explicit; go 1.26\nexample.com/lib\n",
				"vendor/example.com/lib/x.go": "package lib\n\nvar X = 1\n",
				"pages/a/main.go":             "package main\n\nimport \"example.com/lib\"\n\nfunc main() { println(lib.X) }\n",
			},
			func(p *testProject) { p.write("vendor/example.com/lib/x.go", "package lib\n\nvar X = 2\n") }, []string{"vendor/example.com/lib/x.go"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			parallel(t)
			p := newProject(t, c.files)
			if strings.Contains(name, "vendor") {
				p.env = map[string]string{"GOFLAGS": "-mod=vendor"}
				p.Builder = p.again()
			}
			p.good()
			p.wantChange(func() { c.change(p) }, c.paths...)
		})
	}
}

func TestWhatDoesNotGoIntoABinaryIsNotNoticed(t *testing.T) {
	parallel(t)
	p := newProject(t, map[string]string{
		"pages/a/main.go":        "package main\n\nimport _ \"embed\"\n\n//go:embed static/x.txt\nvar x string\n\nfunc main() { println(x) }\n",
		"pages/a/static/x.txt":   "x",
		"pages/b/main.go":        helloPage,
		"pages/a/below/other.go": "package below\n",
	})
	p.good()
	for _, name := range []string{
		"pages/a/.main.go.swp", "pages/a/main.go~", "pages/a/#main.go#", "pages/a/.#main.go", "pages/a/4913", "pages/a/_main.go", "pages/a/.main.go",
		"pages/a/main_test.go", "pages/a/README.md", "pages/a/static/.x.txt.swp", "pages/a/static/y.txt", "pages/b/main.go", "pages/a/below/other.go", "config/server.yaml",
	} {
		p.write(name, "what is not Go")
		if got := p.Affected([]string{p.path(name)}); got[p.page] != "" {
			t.Errorf("%s concerns the page", name)
		}
		if res := p.build(); !res.Cached {
			t.Errorf("%s has the page compiled", name)
		}
	}
}

func TestWhatIsMissingIsWaitedFor(t *testing.T) {
	importing := func(path string) string {
		return fmt.Sprintf("package main\n\nimport _ %q\n\nfunc main() {}\n", path)
	}
	for name, c := range map[string]struct {
		files   map[string]string
		missing map[string]string
		paths   []string
	}{
		"a package": {
			map[string]string{"pages/a/main.go": importing("ex/new/lib")},
			map[string]string{"new/lib/x.go": "package lib\n"}, []string{"new"},
		},
		"the files of a package": {
			map[string]string{"pages/a/main.go": importing("ex/lib"), "lib/README": ""},
			map[string]string{"lib/x.go": "package lib\n"}, []string{"lib/x.go"},
		},
		"a package of a replaced module": {
			map[string]string{
				"pages/a/main.go": importing("example.com/lib/sub"),
				"go.mod":          "module ex\n\ngo 1.26\n\nrequire example.com/lib v1.0.0\n\nreplace example.com/lib => ../lib\n",
				"../lib/go.mod":   "module example.com/lib\n",
			},
			map[string]string{"../lib/sub/x.go": "package sub\n"}, []string{"../lib/sub"},
		},
		"a replaced module": {
			map[string]string{
				"pages/a/main.go": importing("example.com/lib"),
				"go.mod":          "module ex\n\ngo 1.26\n\nrequire example.com/lib v1.0.0\n\nreplace example.com/lib => ../lib\n",
			},
			map[string]string{"../lib/x.go": "package lib\n", "../lib/go.mod": "module example.com/lib\n"}, []string{"../lib"},
		},
		"an embedded file of a package": {
			map[string]string{
				"pages/a/main.go": importing("ex/lib"),
				"lib/x.go":        "package lib\n\nimport _ \"embed\"\n\n//go:embed static/*/x.txt\nvar X string\n",
			},
			map[string]string{"lib/static/y/x.txt": "x"}, []string{"lib/static"},
		},
		"a go.mod that can be read": {
			map[string]string{"go.mod": "<<<<<<< HEAD\n"},
			map[string]string{"go.mod": "module ex\n\ngo 1.26\n"}, []string{"go.mod"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			parallel(t)
			p := newProject(t, c.files)
			if res := p.build(); res.Binary != "" || len(res.Problems) == 0 {
				t.Fatalf("it builds: %+v", res)
			}
			p.wantChange(func() {
				for name, text := range c.missing {
					p.write(name, text)
				}
			}, c.paths...)
			p.good()
		})
	}
}

func TestAFolderThatAPatternWillTakeFromIsWatchedOnceItIsThere(t *testing.T) {
	parallel(t)
	p := newProject(t, map[string]string{
		"pages/a/main.go": "package main\n\nimport _ \"ex/lib\"\n\nfunc main() {}\n",
		"lib/x.go":        "package lib\n\nimport _ \"embed\"\n\n//go:embed static/*.txt\nvar X string\n",
		"lib/static/no":   "",
	})
	p.build()
	if !slices.Contains(p.watched[p.page], p.path("lib/static")) {
		t.Errorf("watched is %v", p.watched)
	}
}

func TestFlagsEnvironmentAndToolchainNameABinary(t *testing.T) {
	dir := t.TempDir() // not parallel: PATH is of the process
	p := newProject(t, nil)
	p.good()
	p.Configure("-s -w", p.opts.Env)
	stripped := p.build()
	if stripped.Cached {
		t.Error("other flags, and the old binary is used")
	}
	p.Configure("-s -w", map[string]string{"GOFLAGS": "-tags=x"})
	if p.build().Cached {
		t.Error("another environment, and the old binary is used")
	}
	p.Configure("-s -w", p.env)
	if res := p.build(); !res.Cached || res.Binary != stripped.Binary {
		t.Errorf("the flags of before give %+v", res)
	}
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\nexec "+real+" \"$@\"\n"), 0o755)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if p.build().Cached {
		t.Error("another go command, and the old binary is used")
	}
	env := filepath.Join(t.TempDir(), "env")
	t.Setenv("GOENV", env)
	p.good()
	os.WriteFile(env, []byte("GOFLAGS=-tags=y\n"), 0o644)
	if p.build().Cached {
		t.Error("go env -w, and the old binary is used")
	}
}

func TestWithoutACacheOrAProxyWhatWasBuiltStarts(t *testing.T) {
	p := newProject(t, nil) // not parallel: the environment is of the process
	binary := p.good()
	t.Setenv("GOCACHE", filepath.Join(p.page, "main.go", "cache"))
	t.Setenv("GOPROXY", "http://127.0.0.1:1")
	if res, err := p.again().Build(t.Context(), p.page, false); err != nil || !res.Cached || res.Binary != binary {
		t.Errorf("Build is %+v, %v", res, err)
	}
}

func TestSettingsThatComeWhileABuildRunsAreNotTakenForItsOwn(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	if _, err := p.Build(t.Context(), p.page, false); err != nil {
		t.Fatal(err)
	}
	p.Configure("-X main.x=1", nil)
	if res := p.build(); res.Cached {
		t.Error("a binary made with other flags is used")
	}
}

func TestWithoutAGoCommandWhatWasBuiltStarts(t *testing.T) {
	p := newProject(t, nil) // not parallel: PATH is of the process
	binary := p.good()
	t.Setenv("PATH", t.TempDir())
	b := p.again()
	if res, err := b.Build(t.Context(), p.page, false); err != nil || res.Binary != binary {
		t.Errorf("Build is %+v, %v", res, err)
	}
	p.write("pages/a/main.go", helloPage+"\n\n")
	if res, err := b.Build(t.Context(), p.page, false); !errors.Is(err, ErrNoGo) {
		t.Errorf("Build of what changed is %+v, %v", res, err)
	}
	p.write("pages/b/main.go", helloPage)
	if res, err := b.Build(t.Context(), p.path("pages/b"), false); !errors.Is(err, ErrNoGo) {
		t.Errorf("Build of a new page is %+v, %v", res, err)
	}
}

func TestProjectsThatShareAFolderKeepTheirOwnBinaries(t *testing.T) {
	parallel(t)
	temp := t.TempDir()
	one, two := newProject(t, nil), newProject(t, map[string]string{"pages/a/main.go": "package main\n\nfunc main() { println(2) }\n"})
	one.Builder, two.Builder = one.server(temp, ""), two.server(temp, "")
	a, b := one.good(), two.good()
	if a == b || filepath.Dir(a) == filepath.Dir(b) || one.prints(a) != "hello" || two.prints(b) != "2" {
		t.Errorf("binaries are %s and %s", a, b)
	}
}

func TestAProjectBehindALinkIsBuiltUnderItsName(t *testing.T) {
	parallel(t)
	base := t.TempDir()
	os.Mkdir(filepath.Join(base, "real"), 0o755)
	if err := os.Symlink("real", filepath.Join(base, "link [1]")); err != nil {
		t.Fatal(err)
	}
	p := openProject(t, filepath.Join(base, "link [1]"), map[string]string{
		"lib/x.go":        "package lib\n\nimport _ \"embed\"\n\n//go:embed static\nvar X string\n",
		"lib/static/x":    "1",
		"pages/a/main.go": "package main\n\nimport \"ex/lib\"\n\nfunc main() { println(lib.X) }\n",
	})
	p.write("lib/x.go", "package lib\n\nimport \"embed\"\n\n//go:embed static/*\nvar F embed.FS\n\nvar X = 1\n")
	p.good()
	p.wantChange(func() { p.write("lib/static/y", "2") }, "lib/static/y")
	p.write("lib/x.go", "package lib\n\nvar X = y\n")
	p.write("pages/a/main.go", "package main\n\nfunc main() { y() }\n")
	if res := p.build(); len(res.Problems) != 1 || res.Problems[0].File != "pages/a/main.go" {
		t.Errorf("problems are %v", res.Problems)
	}
}

func TestACommentMakesNoOtherProgram(t *testing.T) {
	parallel(t)
	p := newProject(t, map[string]string{"pages/a/main.go": helloPage + "// one\n"})
	for _, flags := range []string{"", "-s -w"} {
		p.Configure(flags, p.opts.Env)
		p.write("pages/a/main.go", helloPage+"// one\n")
		one := p.build()
		p.write("pages/a/main.go", helloPage+"// two\n")
		two := p.build()
		if two.Cached || one.Binary != two.Binary {
			t.Errorf("with %q a comment makes %s of %s", flags, two.Binary, one.Binary)
		}
	}
}

func TestWhatAUserEmbedsInTheLinkerFlagsIsHisOwn(t *testing.T) {
	for flags, want := range map[string]string{
		"":               "-buildid=",
		"-s -w":          "-buildid= -s -w",
		" -buildid=mine": "-buildid= -buildid=mine",
		"all=-s":         "all=-s",
	} {
		if got := (environment{ldflags: flags}).linkerFlags(); got != want {
			t.Errorf("of %q comes %q, want %q", flags, got, want)
		}
	}
}

func TestAPageThatIsNoProgramIsAProblem(t *testing.T) {
	parallel(t)
	p := newProject(t, map[string]string{"pages/a/main.go": "// Package x is none.\npackage x\n"})
	res := p.build()
	if res.Binary != "" || len(res.Problems) != 1 || res.Problems[0].String() != "pages/a/main.go:2:9: package x; expected package main" {
		t.Errorf("Build is %+v", res)
	}
	p.wantFiles(0)
}

// wantFiles checks how many binaries there are, and that nothing half-done is
// left.
func (p *testProject) wantFiles(binaries int) {
	p.Helper()
	files, err := os.ReadDir(p.dir)
	if err != nil {
		p.Fatal(err)
	}
	var names []string
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".json" && f.Name() != claimFile {
			names = append(names, f.Name())
		}
	}
	if len(names) != binaries || slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".tmp") || strings.HasPrefix(n, "work-") }) {
		p.Errorf("files are %v, want %d binaries", names, binaries)
	}
}

func TestADeadContextBuildsNothing(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Build(ctx, p.page, false); !errors.Is(err, context.Canceled) {
		t.Errorf("Build is %v", err)
	}
	p.wantFiles(0)
}

// await waits until something has happened.
func (p *testProject) await(happened func() bool) {
	p.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !happened() {
		select {
		case <-ticker.C:
		case <-p.Context().Done():
			p.Fatal("the test has ended")
		}
	}
}
