package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// outcome is what came of a page's build.
type outcome struct {
	Result
	err error
}

// start builds pages at once, as a start of the server does, and returns what
// came of each.
func (p *testProject) start(b *Builder, pages ...string) map[string]outcome {
	p.Helper()
	for _, page := range pages {
		b.Expect(p.path(page))
	}
	var mu sync.Mutex
	outcomes := make(map[string]outcome)
	var building sync.WaitGroup
	for _, page := range pages {
		building.Go(func() {
			res, err := b.Build(p.Context(), p.path(page), false)
			mu.Lock()
			defer mu.Unlock()
			outcomes[page] = outcome{res, err}
		})
	}
	building.Wait()
	return outcomes
}

// many makes pages, half of which import a package, and returns their folders.
func (p *testProject) many(n int) (pages []string) {
	p.write("lib/lib.go", "package lib\n\nvar X = 1\n")
	for i := range n {
		page := fmt.Sprintf("pages/p%02d", i)
		text := fmt.Sprintf("package main\n\nfunc main() { println(\"%s\") }\n", page)
		if i%2 == 0 {
			text = fmt.Sprintf("package main\n\nimport \"ex/lib\"\n\nfunc main() { println(\"%s\"); lib.X++ }\n", page)
		}
		p.write(page+"/main.go", text)
		pages = append(pages, page)
	}
	return pages
}

// wantPages checks that each page was built, and prints its name.
func (p *testProject) wantPages(outcomes map[string]outcome) {
	p.Helper()
	for page, o := range outcomes {
		if o.err != nil || o.Binary == "" || o.Stale || o.InputsErr != nil {
			p.Errorf("%s: %+v", page, o)
		} else if got := p.prints(o.Binary); got != page {
			p.Errorf("the program of %s is that of %s", page, got)
		}
	}
}

// wantRan checks which go commands built, however many pages each.
func (p *testProject) wantRan(want ...string) {
	p.Helper()
	ran := p.ran()
	for i, command := range ran {
		words := strings.Fields(command)
		if len(words) > 2 {
			ran[i] = fmt.Sprintf("%s %d", words[0], len(words)-1)
		} else {
			ran[i] = words[0] + " 1"
		}
	}
	slices.Sort(ran)
	if !slices.Equal(ran, want) {
		p.Errorf("go commands that ran are %q, want %q", ran, want)
	}
}

func TestOneGoCommandBuildsAllPagesThatNeedTheCompiler(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	pages := p.many(20)
	p.wantPages(p.start(p.Builder, pages...))
	p.wantRan("build 20", "list 20")
	p.wantFiles(20)
	for page, o := range p.start(p.again(), pages...) { // nothing was learned before this server was killed
		if o.err != nil || !o.Cached {
			t.Errorf("%s is built again: %+v", page, o)
		}
	}
	p.wantRan()
	p.write("pages/p03/main.go", "package main\n\nfunc main() { println(\"pages/p03\", \"\") }\n")
	p.write("pages/p05/main.go", "package main\n\nfunc main() { println(\"pages/p05\", \"\") }\n")
	p.wantPages(p.start(p.again(), pages...))
	p.wantRan("build 2", "list 2")
}

func TestAPageThatPeopleWaitForIsTheFirstOfItsCommand(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	pages := p.many(4)
	p.Prioritize(p.path("pages/p02"))
	p.wantPages(p.start(p.Builder, pages...))
	if ran := p.ran(); !slices.Contains(ran, "build ./pages/p02 ./pages/p00 ./pages/p01 ./pages/p03") {
		t.Errorf("%q ran", ran)
	}
}

func TestABatchMakesWhatTheGoCommandMakesOfOnePage(t *testing.T) {
	for _, flags := range []string{"-s -w", "all=-w"} { // with the second the go command writes a build ID into the binary
		t.Run(flags, func(t *testing.T) {
			parallel(t)
			p := newProject(t, nil)
			p.Configure(flags, p.env)
			pages := p.many(3)
			outcomes := p.start(p.Builder, pages...)
			p.wantRan("build 3", "list 3")
			for page, o := range outcomes {
				p.page = p.path(page)
				made, err := os.ReadFile(o.Binary)
				if err != nil {
					t.Fatal(o.err, o.Problems, err)
				}
				if string(made) != string(p.ordinary()) {
					t.Errorf("%s is another program than if it were built alone", page)
				}
			}
		})
	}
}

func TestWhatABatchRanIsPlanned(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	pages := p.many(3)
	p.wantPages(p.start(p.Builder, pages...))
	p.write("lib/lib.go", "package lib\n\nvar X = 2\n")
	for i, page := range pages {
		text, _ := os.ReadFile(p.path(page + "/main.go"))
		p.write(page+"/main.go", string(text)+"\nfunc init() { X() }\n\nfunc X() {}\n"+strings.Repeat("\n", i))
	}
	p.wantPages(p.start(p.Builder, pages...))
	p.wantRan("build 3", "build 3", "list 3")
	for _, page := range pages {
		p.page = p.path(page)
		if stale, err := p.Optimize(t.Context(), p.page); stale || err != nil {
			t.Fatal(stale, err)
		}
		text, _ := os.ReadFile(p.path(page + "/main.go"))
		p.write(page+"/main.go", strings.Replace(string(text), "X() {}", "X() { print() }", 1))
		if !p.buildsByPlan() {
			t.Errorf("%s is not built by a plan", page)
		}
		made, err := os.ReadFile(p.newest)
		if err != nil {
			t.Fatal(err)
		}
		if string(made) != string(p.ordinary()) {
			t.Errorf("%s is another program than the go command makes", page)
		}
	}
}

func TestPagesWhoseFoldersHaveOneNameKeepTheirPrograms(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	p.Builder = p.server(filepath.Join(t.TempDir(), "my $WORK"), "") // which the go command quotes
	pages := []string{"pages/index", "pages/a/index", "pages/b/index", "pages/b/v2"}
	for _, page := range pages {
		p.write(page+"/main.go", "package main\n\nfunc main() { println(\""+page+"\") }\n")
	}
	p.wantPages(p.start(p.Builder, pages...))
	p.wantRan("build 4", "list 4")
}

func TestABrokenPageKeepsNoOtherFromBeingBuilt(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a type":        {map[string]string{"pages/p01/main.go": "package main\n\nfunc main() { x }\n"}, "pages/p01/main.go:3:15: undefined: x"},
		"a syntax":      {map[string]string{"pages/p01/main.go": "package main\n\nfunc main() {\n"}, "pages/p01/main.go:4:1: syntax error: unexpected EOF, expected }"},
		"a clause":      {map[string]string{"pages/p01/main.go": "packag main\n"}, "pages/p01/main.go:1:1: expected 'package', found packag"},
		"an import":     {map[string]string{"pages/p01/main.go": "package main\n\nimport _ \"ex/none\"\n\nfunc main() {}\n"}, "ex/none"},
		"a library":     {map[string]string{"pages/p01/main.go": "package p01\n"}, "pages/p01/main.go:1:9: package p01; expected package main"},
		"an empty page": {map[string]string{"pages/p01/main.go": "// Nothing yet.\n"}, "expected 'package'"},
		"a pattern": {map[string]string{
			"pages/p01/main.go": "package main\n\nimport _ \"ex/none\"\n\nfunc main() {}\n", "none/x.go": "package none\n\nimport _ \"embed\"\n\n//go:embed nothing\nvar x string\n",
		}, "none/x.go:5:12: pattern nothing: no matching files found"},
	} {
		t.Run(name, func(t *testing.T) {
			parallel(t)
			p := newProject(t, nil)
			pages := p.many(3)
			for name, text := range c.files {
				p.write(name, text)
			}
			outcomes := p.start(p.Builder, pages...)
			broken := outcomes["pages/p01"]
			if broken.err != nil || broken.Binary != "" || len(broken.Problems) != 1 || !strings.Contains(broken.Problems[0].String(), c.want) {
				t.Errorf("of the broken page is said %+v, want %s", broken, c.want)
			}
			delete(outcomes, "pages/p01")
			p.wantPages(outcomes)
			ran := p.ran()
			if alone := slices.DeleteFunc(slices.Clone(ran), func(c string) bool { return c != "build ." }); len(alone) != 1 {
				t.Errorf("%q ran, want one page built alone", ran)
			}
		})
	}
}

func TestAPageOfAnotherModuleIsBuiltInItsOwn(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	pages := p.many(2)
	p.write("pages/own/go.mod", "module own\n\ngo 1.26\n")
	p.write("pages/own/main.go", "package main\n\nimport \"own/lib\"\n\nfunc main() { println(lib.Name) }\n")
	p.write("pages/own/lib/x.go", "package lib\n\nconst Name = \"pages/own\"\n")
	p.wantPages(p.start(p.Builder, append(pages, "pages/own")...))
	p.wantRan("build 1", "build 2", "list 1", "list 2")

	p.write("go.work", "go 1.26\n\nuse (\n\t.\n\t./pages/own\n)\n")
	p.env["GOFLAGS"] = ""
	p.Builder = p.server(t.TempDir(), "")
	p.wantPages(p.start(p.Builder, append(pages, "pages/own")...))
	p.wantRan("build 3", "list 3")
}

func TestOnlyPagesThatAgreeAreBuiltTogether(t *testing.T) {
	h := func(env map[string]string) environment { return environment{env: env} }
	dir := t.TempDir()
	page := filepath.Join(dir, "pages", "a")
	os.MkdirAll(page, 0o755)
	os.WriteFile(filepath.Join(dir, "go.mod"), nil, 0o644)
	os.WriteFile(filepath.Join(dir, "go.work"), nil, 0o644)
	for env, want := range map[string]string{
		"":                                       filepath.Join(dir, "go.work"),
		"GOWORK=off":                             filepath.Join(dir, "go.mod"),
		"GOWORK=/x/go.work":                      "/x/go.work",
		"GOFLAGS=-pgo=off -trimpath":             filepath.Join(dir, "go.work"),
		"GOFLAGS=-overlay=over.json":             "", // of each page another file
		"GOFLAGS=-overlay=/over.json -pgo=x.pgo": "",
		"GOFLAGS=-overlay=/over.json":            filepath.Join(dir, "go.work"),
	} {
		key, value, _ := strings.Cut(env, "=")
		if got := h(map[string]string{"GOENV": "off", key: value}).moduleFile(page); got != want {
			t.Errorf("with %q pages of %q are built together, want %q", env, got, want)
		}
	}
}

func TestPagesAreBuiltTogetherWithTheSameSettingsOnly(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	var keys []string
	for i, page := range p.many(3) {
		if i == 2 {
			p.Configure("-X main.x=1", p.env)
		}
		a := p.newAttempt(p.path(page), false)
		if _, err := p.lookup(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, a.job.key)
		if _, _, err := p.queue.wait(t.Context(), a.job); err != nil { // until its turn comes, which it does at once
			t.Fatal(err)
		}
		p.queue.finish(a.job, true)
	}
	if keys[0] == "" || keys[0] != keys[1] || keys[0] == keys[2] {
		t.Errorf("the keys are %q", keys)
	}
}

// holdGo has go build stop until the file that it returns is removed, with the
// compiler's processes beside it. The file "began" next to it tells that one
// does.
func (p *testProject) holdGo() (hold, began string) {
	p.Helper()
	dir := p.TempDir()
	hold, began = filepath.Join(dir, "hold"), filepath.Join(dir, "began")
	tool := filepath.Join(dir, "tool")
	script := "#!/bin/sh\ncase \"$2\" in -V*) exec \"$@\" ;; esac\necho \"$TOOLEXEC_IMPORTPATH\" >>" + began + "\nwhile [ -e " + hold + " ]; do sleep 0.05; done\nexec \"$@\"\n"
	if err := errors.Join(os.WriteFile(tool, []byte(script), 0o755), os.WriteFile(hold, nil, 0o644)); err != nil {
		p.Fatal(err)
	}
	p.env["GOFLAGS"] = "-toolexec=" + tool
	p.Builder = p.server(p.TempDir(), "")
	return hold, began
}

func TestASaveTakesOnlyItsPageOutOfABatch(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	pages := p.many(3)
	hold, began := p.holdGo()
	for _, page := range pages {
		p.Expect(p.path(page))
	}
	saved, save := context.WithCancel(t.Context())
	outcomes := make([]outcome, len(pages))
	var building sync.WaitGroup
	for i, page := range pages {
		building.Go(func() {
			ctx := t.Context()
			if i == 1 {
				ctx = saved
			}
			res, err := p.Build(ctx, p.path(page), false)
			if i == 1 && errors.Is(err, context.Canceled) {
				os.Remove(hold) // it came back, though the batch did not go on
				res, err = p.Build(t.Context(), p.path(page), false)
			}
			outcomes[i] = outcome{res, err}
		})
	}
	p.await(func() bool { _, err := os.Stat(began); return err == nil })
	p.write("pages/p01/main.go", "package main\n\nfunc main() { println(\"saved\") }\n")
	save()
	building.Wait()
	p.wantPages(map[string]outcome{pages[0]: outcomes[0], pages[2]: outcomes[2]})
	if o := outcomes[1]; o.err != nil || o.Binary == "" || p.prints(o.Binary) != "saved" {
		t.Errorf("of the saved page came %+v", o)
	}
	p.wantRan("build 1", "build 3", "list 1", "list 3")
	p.wantFiles(3)
}

func TestABatchWorksOutsideTheProject(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	pages := p.many(3)
	hold, began := p.holdGo()
	var outcomes map[string]outcome
	var building sync.WaitGroup
	building.Go(func() { outcomes = p.start(p.Builder, pages...) })
	p.await(func() bool { _, err := os.Stat(began); return err == nil })
	if left, err := filepath.Glob(filepath.Join(p.root, "work-*")); len(left) > 0 || err != nil {
		t.Errorf("the go command works in %q, %v", left, err)
	}
	os.Remove(hold)
	building.Wait()
	p.wantPages(outcomes)
}

func TestABatchThatNobodyWaitsForEndsWithItsProcesses(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	pages := p.many(3)
	_, began := p.holdGo()
	var mu sync.Mutex
	var groups []int
	p.opts.Guard = func(pgid int) func() {
		mu.Lock()
		defer mu.Unlock()
		groups = append(groups, pgid)
		return func() {}
	}
	ctx, stop := context.WithCancel(t.Context())
	var building sync.WaitGroup
	for _, page := range pages {
		p.Expect(p.path(page))
	}
	for _, page := range pages {
		building.Go(func() {
			if _, err := p.Build(ctx, p.path(page), false); !errors.Is(err, context.Canceled) {
				t.Errorf("Build is %v", err)
			}
		})
	}
	p.await(func() bool { _, err := os.Stat(began); return err == nil })
	stop()
	building.Wait()
	for _, pgid := range groups {
		if err := waitForGroup(pgid); err != nil {
			t.Error(err)
		}
	}
	p.wantFiles(0)
}
