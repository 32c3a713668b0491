package build

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// standInFor puts a go command into PATH that chooses a toolchain by the first
// of the files that it finds, as a version manager does, and notes what it is
// asked for.
func standInFor(t *testing.T, files ...string) (asked func() int) {
	t.Helper()
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log := filepath.Join(dir, "asked")
	script := "#!/bin/sh\n" +
		"if [ \"$1\" = env ]; then\n" +
		"\techo >>" + log + "\n" +
		"\tfor f in '" + strings.Join(files, "' '") + "'; do\n" +
		"\t\tif [ -e \"$f\" ]; then echo \"/toolchains/$(cat \"$f\")\"; exit; fi\n" +
		"\tdone\n" +
		"fi\n" +
		"exec " + real + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() int {
		text, _ := os.ReadFile(log)
		return strings.Count(string(text), "\n")
	}
}

func TestAToolchainThatAVersionManagerChoosesNamesABinary(t *testing.T) {
	for _, name := range []string{".tool-versions", "pages/.tool-versions", "pages/a/.go-version", "mise.toml", ".config/mise/config.toml"} {
		t.Run(name, func(t *testing.T) { // not parallel: PATH is of the process
			root := filepath.Join(t.TempDir(), "my project")
			standInFor(t, filepath.Join(root, name))
			p := openProject(t, root, map[string]string{name: "go1"})
			p.good()
			if !p.build().Cached {
				t.Error("nothing changed, and the page is built again")
			}
			p.wantChange(func() { p.write(name, "go number 2") }, name)
			if p.build(); !p.build().Cached || p.build().Binary == "" {
				t.Error("nothing changed any more, and the page is built again")
			}
		})
	}
}

func TestAToolchainThatIsChosenElsewhereIsFoundAfterABuild(t *testing.T) {
	choice := filepath.Join(t.TempDir(), "choice") // in no place that we know
	asked := standInFor(t, choice)
	choose := func(version string) {
		t.Helper()
		if err := os.WriteFile(choice, []byte(version), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	choose("go1")
	p := newProject(t, nil)
	p.good()
	for range 5 {
		if !p.build().Cached {
			t.Fatal("nothing changed, and the page is built again")
		}
	}
	if n := asked(); n != 2 {
		t.Errorf("the go command was asked %d times, want before and after the only build", n)
	}
	choose("go2")
	if res, err := p.again().Build(t.Context(), p.page, false); err != nil || res.Cached {
		t.Errorf("another start uses what another toolchain built: %+v, %v", res, err)
	}
	p.write("pages/a/main.go", helloPage+"\nvar _ = 1\n")
	if _, err := p.Build(t.Context(), p.page, false); err != nil {
		t.Fatal(err)
	}
	if stale, err := p.Optimize(t.Context(), p.page); !stale || err != nil {
		t.Errorf("a build by another toolchain than was thought: stale %v, %v", stale, err)
	}
	p.good()
	if !p.build().Cached {
		t.Error("nothing changed any more, and the page is built again")
	}
}

func TestAToolchainsOwnGoCommandIsNotAsked(t *testing.T) {
	p := newProject(t, nil)
	p.good()
	if p.environment().shim || len(p.toolchains) != 0 {
		t.Error("it is taken for a stand-in")
	}
}
