package build

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlagsOfTheEnvironmentAreRead(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                         {},
		"-tags=a,b":                {"tags": "a,b"},
		"--tags=a -tags=b":         {"tags": "b"},
		" -race\t-mod=vendor\n":    {"race": "true", "mod": "vendor"},
		`'-tags=a b' "-pgo=my x"`:  {"tags": "a b", "pgo": "my x"},
		`-ldflags=-X=a.b='c -race`: {"ldflags": "-X=a.b='c", "race": "true"},
		`'-tags=a`:                 {"tags": "a"},
	} {
		h := environment{env: map[string]string{"GOFLAGS": text}}
		if diff := cmp.Diff(want, h.flags()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestFilesThatFlagsNameGoIntoABinary(t *testing.T) {
	const two = "package main\n\nfunc main() { println(2) }\n"
	for name, c := range map[string]struct {
		flag   string // $ is the project's folder
		files  map[string]string
		change map[string]string
	}{
		"an overlay":            {"-overlay=$/over.json", map[string]string{"over.json": `{"Replace": {}}`}, map[string]string{"over.json": `{"Replace": {"x": ""}}`}},
		"what it maps to":       {"-overlay=$/over.json", map[string]string{"over.json": `{"Replace": {"$/pages/a/main.go": "$/hidden/main.go"}}`, "hidden/main.go": helloPage}, map[string]string{"hidden/main.go": two}},
		"by its relative name":  {"-overlay=../../over.json", map[string]string{"over.json": `{"Replace": {"main.go": "../../hidden/main.go"}}`, "hidden/main.go": helloPage}, map[string]string{"hidden/main.go": two}},
		"a go.mod":              {"-modfile=$/other.mod", map[string]string{"other.mod": "module ex\n\ngo 1.26\n"}, map[string]string{"other.mod": "module ex\n\ngo 1.25\n"}},
		"its go.sum":            {"-modfile=$/other.mod", map[string]string{"other.mod": "module ex\n\ngo 1.26\n"}, map[string]string{"other.sum": "\n"}},
		"a module it replaces":  {"-modfile=$/mods/other.mod", map[string]string{"mods/other.mod": "module ex\n\ngo 1.26\n\nrequire example.com/lib v1.0.0\n\nreplace example.com/lib => ./lib\n", "lib/go.mod": "module example.com/lib\n\ngo 1.26\n"}, map[string]string{"lib/go.mod": "module example.com/lib\n\ngo 1.25\n"}},
		"a profile":             {"-pgo=$/cpu.pgo", map[string]string{"cpu.pgo": ""}, map[string]string{"cpu.pgo": "no profile"}},
		"a profile with spaces": {"'-pgo=$/my cpu.pgo'", map[string]string{"my cpu.pgo": ""}, map[string]string{"my cpu.pgo": "no profile"}},
		"a tool that runs them": {"-toolexec=$/tool", map[string]string{"tool": "#!/bin/sh\nexec \"$@\"\n"}, map[string]string{"tool": "#!/bin/sh\n\nexec \"$@\"\n"}},
		"a tool with words":     {"'-toolexec=$/tool -x'", map[string]string{"tool": "#!/bin/sh\nshift\nexec \"$@\"\n"}, map[string]string{"tool": "#!/bin/sh\nshift\n\nexec \"$@\"\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			parallel(t)
			dir := "my project"
			if strings.Contains(name, "tool") {
				dir = "project" // the words of -toolexec are split at spaces
			}
			p := openProject(t, filepath.Join(t.TempDir(), dir), nil)
			here := strings.NewReplacer("$/", p.root+"/").Replace
			write := func(files map[string]string) (paths []string) {
				for name, text := range files {
					p.write(name, here(text))
					if name == "tool" {
						os.Chmod(p.path(name), 0o755)
					}
					paths = append(paths, name)
				}
				return paths
			}
			write(c.files)
			flag := here(c.flag)
			if strings.Contains(p.root, " ") && flag[0] != '\'' {
				flag = "'" + flag + "'"
			}
			p.env["GOFLAGS"] = flag
			p.Builder = p.again()
			p.good()
			if !p.build().Cached {
				t.Error("what did not change is built again")
			}
			if name := slices.Collect(maps.Keys(c.change))[0]; name == "tool" {
				write(c.change)
				if p.build().Cached {
					t.Error("with another tool the old binary is used")
				}
				return
			}
			p.wantChange(func() { write(c.change) }, slices.Collect(maps.Keys(c.change))...)
		})
	}
}

func TestTheCCompilerNamesABinary(t *testing.T) {
	dir := t.TempDir()
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	if real, err = filepath.EvalSymlinks(real); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, filepath.Join(dir, "go")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir) // not parallel: PATH is of the process
	t.Setenv("CC", "")
	p := newProject(t, map[string]string{
		"pages/a/cgo.go":  "//go:build cgo\n\npackage main\n\nconst says = \"cgo\"\n",
		"pages/a/pure.go": "//go:build !cgo\n\npackage main\n\nconst says = \"pure\"\n",
		"pages/a/main.go": "package main\n\nfunc main() { println(says) }\n",
	})
	delete(p.env, "CGO_ENABLED")
	p.Builder = p.again()
	want := func(says string, cached bool) {
		t.Helper()
		res := p.build()
		if res.Binary == "" {
			t.Fatalf("it does not build: %v", res.Problems)
		}
		if got := p.prints(res.Binary); got != says || res.Cached != cached {
			t.Errorf("it says %q (cached %v), want %q (cached %v)", got, res.Cached, says, cached)
		}
	}
	want("pure", false)
	compiler := filepath.Join(dir, "gcc")
	if runtime.GOOS == "darwin" {
		compiler = filepath.Join(dir, "clang")
	}
	if err := os.WriteFile(compiler, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	want("cgo", false)
	want("cgo", true)
	if err := os.Remove(compiler); err != nil {
		t.Fatal(err)
	}
	want("pure", true)
	if err := os.Remove(filepath.Join(dir, "go")); err != nil {
		t.Fatal(err)
	}
	want("cgo", true) // without a go command what was built last is all there is
}

// TestTheGoCommandSaysTheSameOfItsSettings compares what we make of environment
// and files with what the go command does.
func TestTheGoCommandSaysTheSameOfItsSettings(t *testing.T) {
	bare := t.TempDir() // go, and no C compiler
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	if real, err = filepath.EvalSymlinks(real); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, filepath.Join(bare, "go")); err != nil {
		t.Fatal(err)
	}
	withCompiler := t.TempDir()
	for _, name := range []string{"gcc", "clang", "mycc"} {
		if err := os.WriteFile(filepath.Join(withCompiler, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	written := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(written, []byte("# made by hand\nGOFLAGS=-tags=written\nCGO_ENABLED=0\nGOOS=plan9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string]map[string]string{
		"nothing":               {},
		"tags":                  {"GOFLAGS": "-tags=a,b"},
		"tags by words":         {"GOFLAGS": "'-tags=a b'"},
		"instruments":           {"GOFLAGS": "-race", "CGO_ENABLED": "1"},
		"another system":        {"GOOS": "windows"},
		"another machine":       {"GOARCH": "arm64"},
		"a level":               {"GOAMD64": "v3", "GOARCH": "amd64"},
		"an experiment":         {"GOEXPERIMENT": "jsonv2"},
		"cgo off":               {"CGO_ENABLED": "0"},
		"cgo on":                {"CGO_ENABLED": "1"},
		"no C compiler":         {"PATH": bare},
		"no C compiler, cgo on": {"PATH": bare, "CGO_ENABLED": "1"},
		"a C compiler":          {"PATH": bare + ":" + withCompiler},
		"a C compiler by name":  {"PATH": bare + ":" + withCompiler, "CC": "mycc -g"},
		"one that is not there": {"PATH": bare, "CC": "mycc"},
		"what was written":      {"GOENV": written},
		"an override of it":     {"GOENV": written, "GOFLAGS": "-tags=mine", "GOOS": "linux", "CGO_ENABLED": "1"},
		"no settings":           {"GOENV": "off"},
		"no home":               {"HOME": "", "GOCACHE": filepath.Join(bare, "cache"), "GOPATH": bare},
	} {
		t.Run(name, func(t *testing.T) {
			h := environment{env: maps.Clone(env)}
			h.settings, h.toolchain = h.readSettings()
			got := h.constraints()
			cmd := exec.Command(real, "list", "-f", "{{context.GOOS}} {{context.GOARCH}} {{context.CgoEnabled}} {{context.Compiler}}\n{{context.BuildTags}}\n{{context.ToolTags}}", "main.go")
			cmd.Dir = dir
			cmd.Env = append(h.environ(), "GO111MODULE=off")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			lines := strings.Split(string(out), "\n")
			words := func(list []string) string { return "[" + strings.Join(list, " ") + "]" }
			cgo := "false"
			if got.CgoEnabled {
				cgo = "true"
			}
			if ours := strings.Join([]string{got.GOOS, got.GOARCH, cgo, got.Compiler}, " "); ours != lines[0] {
				t.Errorf("we say %s, the go command %s", ours, lines[0])
			}
			if ours := words(got.BuildTags); ours != lines[1] {
				t.Errorf("tags: we say %s, the go command %s", ours, lines[1])
			}
			theirs := strings.Fields(strings.Trim(lines[2], "[]"))
			for _, tag := range theirs {
				if got.GOARCH == "amd64" && !slices.Contains(got.ToolTags, tag) {
					t.Errorf("tool tags: we say %v, the go command %v", got.ToolTags, theirs)
				}
			}
		})
	}
}
