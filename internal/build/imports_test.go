package build

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestGoListIsAskedOnlyWhenItMaySaySomethingElse(t *testing.T) {
	const page = "package main\n\nimport _ \"ex/lib\"\n\nfunc main() {}\n"
	for name, c := range map[string]struct {
		change func(p *testProject)
		asked  bool
	}{
		"a function":              {func(p *testProject) { p.write("pages/a/main.go", page+"\nvar x = 1\n") }, false},
		"a function of a package": {func(p *testProject) { p.write("lib/x.go", "package lib\n\nvar X = 1\n") }, false},
		"an embedded file":        {func(p *testProject) { p.write("lib/y.txt", "2") }, false},
		"one more embedded file":  {func(p *testProject) { p.write("lib/z.txt", "2") }, false},
		"an import":               {func(p *testProject) { p.write("pages/a/b.go", "package main\n\nimport _ \"ex/more\"\n") }, true},
		"an import of a package":  {func(p *testProject) { p.write("lib/x.go", "package lib\n\nimport _ \"ex/more\"\n") }, true},
		"a condition":             {func(p *testProject) { p.write("lib/x.go", "//go:build !plan9\n\npackage lib\n") }, true},
		"a pattern": {func(p *testProject) {
			p.write("lib/e.go", "package lib\n\nimport \"embed\"\n\n//go:embed y.txt\nvar Y embed.FS\n")
		}, true},
		"one file more":             {func(p *testProject) { p.write("lib/new.go", "package lib\n") }, true},
		"one file fewer":            {func(p *testProject) { p.remove("lib/x.go") }, true},
		"the module":                {func(p *testProject) { p.write("go.mod", "module ex\n\ngo 1.25\n") }, true},
		"a file that is no program": {func(p *testProject) { p.write("lib/x.h", "// nothing\n") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			parallel(t)
			p := newProject(t, map[string]string{
				"pages/a/main.go": page, "lib/x.go": "package lib\n", "more/x.go": "package more\n", "lib/y.txt": "1",
				"lib/e.go": "package lib\n\nimport \"embed\"\n\n//go:embed *.txt\nvar Y embed.FS\n",
			})
			p.good()
			p.Builder = p.again()
			p.ran()
			c.change(p)
			res, err := p.Build(t.Context(), p.page, false)
			if err != nil || res.Binary == "" || res.Stale || res.Cached {
				t.Fatalf("Build is %+v, %v", res, err)
			}
			if asked := slices.Contains(p.ran(), "list ./."); asked != c.asked {
				t.Errorf("go list was asked: %v", asked)
			}
			if res, err := p.again().Build(t.Context(), p.page, false); err != nil || !res.Cached {
				t.Errorf("a later start builds again: %+v, %v", res, err)
			}
		})
	}
}

func TestWhatSeemsUnchangedIsNotReadAgain(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	file := p.path("pages/a/main.go")
	in := inputs{Files: []string{file}}
	before := in.snapshot()
	mark := before[file]
	mark.content = "as before"
	known := snapshot{file: mark}
	later := time.Now().Add(2 * timePrecision)
	if got := in.snapshotSince(known, later)[file].content; got != "as before" {
		t.Error("a file that has not changed for long is read again")
	}
	if got := in.snapshotSince(known, time.Now())[file].content; got != before[file].content {
		t.Error("a file that changed just before is not read again: it may have changed twice within one tick")
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	p.write("pages/a/main.go", "package main\n\nfunc main() { println(\"HELLO\") }\n")
	os.Chtimes(file, info.ModTime(), info.ModTime())
	if got := in.snapshotSince(known, later)[file].content; got == "as before" {
		t.Error("a file that changed is not read again, as its size and the time that it names are the same")
	}
}

func TestWhatImportsLeadToIsForeseen(t *testing.T) {
	parallel(t)
	p := newProject(t, map[string]string{
		"go.mod":          "module ex\n\ngo 1.26\n\nrequire other v1.0.0\n\nreplace other => ./replaced\n",
		"replaced/go.mod": "module other\n\ngo 1.26\n",
		"replaced/x/x.go": "package x\n",
		"lib/x.go":        "package lib\n\nimport (\n\t_ \"embed\"\n\n\t_ \"other/x\"\n)\n\n//go:embed \"data/*\"\nvar X string\n",
		"lib/data/one":    "1",
		"lib/tagged.go":   "//go:build never\n\npackage lib\n\nimport _ \"ex/tagged\"\n",
		"tagged/x.go":     "package tagged\n",
		"pages/a/main.go": "package main\n\nimport (\n\t_ \"fmt\"\n\n\t_ \"ex/lib\"\n\t_ \"ex/none\"\n)\n\nfunc main() {}\n",
	})
	seen := p.environment().guessInputs(p.page).withImports().snapshot()
	for _, name := range []string{"pages/a/main.go", "lib/x.go", "lib/data/one", "replaced/x/x.go", "tagged/x.go", "go.mod", "replaced/go.mod"} {
		if _, ok := seen[p.path(name)]; !ok {
			t.Errorf("%s is not foreseen", name)
		}
	}
}
