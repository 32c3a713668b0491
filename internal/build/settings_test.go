package build

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
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
		h := how{env: map[string]string{"GOFLAGS": text}}
		if diff := cmp.Diff(want, h.flags()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
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
			h := how{env: maps.Clone(env)}
			h.settings = h.readSettings()
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
