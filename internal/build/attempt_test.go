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
	"time"
)

const libPage = "package main\n\nimport \"ex/lib\"\n\nfunc main() { println(lib.X) }\n"

// midway builds the page of p while change happens, when the go commands have
// done their work.
func (p *testProject) midway(change func()) (stale bool) {
	p.Helper()
	res := p.interrupted(p.Builder, change)
	if res.InputsErr != nil {
		p.Fatal(res.InputsErr)
	}
	return res.Stale
}

func (p *testProject) interrupted(b *Builder, change func()) Result {
	p.Helper()
	a := b.newAttempt(p.page, true)
	if _, err := b.lookup(p.Context(), a); err != nil {
		p.Fatal(err)
	}
	defer func() { b.queue.finish(a.job, a.alone) }()
	defer os.Remove(a.tmp)
	out, err := b.makeBinary(p.Context(), a)
	change()
	res, err := b.finish(a, out, err)
	if err != nil {
		p.Fatal(err)
	}
	return res
}

func TestABuildThatAChangeOvertookIsStale(t *testing.T) {
	old := map[string]string{"lib/x.go": "package lib\n\nvar X = 1\n", "lib/y.go": "package lib\n", "pages/a/main.go": libPage}
	for name, c := range map[string]struct {
		change func(p *testProject)
	}{
		"edited":  {func(p *testProject) { p.write("lib/x.go", "package lib\n\nvar X = 2\n") }},
		"removed": {func(p *testProject) { p.remove("lib/y.go") }},
		"new":     {func(p *testProject) { p.write("lib/z.go", "package lib\n\nfunc init() { X++ }\n") }},
		"and back": {func(p *testProject) {
			p.write("lib/x.go", "package lib\n\nvar X = 2\n")
			p.write("lib/x.go", "package lib\n\nvar X = 1\n")
		}},
		"page file": {func(p *testProject) { p.write("pages/a/main.go", libPage+"\nvar _ = 1\n") }},
	} {
		t.Run(name, func(t *testing.T) {
			parallel(t)
			p := newProject(t, old)
			if stale := p.midway(func() { c.change(p) }); !stale { // the library is not known yet
				t.Error("a first build is not stale")
			}
			p.good()
			p.write("lib/x.go", "package lib\n\nvar X = 1 // again\n")
			p.write("lib/y.go", "package lib\n\nvar Y = 1\n")
			if stale := p.midway(func() { c.change(p) }); !stale {
				t.Error("a later build is not stale")
			}
			if res := p.build(); res.Cached {
				t.Error("the stale binary is used again")
			}
		})
	}
}

func TestWhatAPageWritesIntoItsFolderBuildsNothing(t *testing.T) {
	parallel(t)
	p := newProject(t, map[string]string{
		"pages/a/main.go":    "package main\n\nimport _ \"embed\"\n\n//go:embed hello.txt\nvar hello string\n\nfunc main() { println(hello) }\n",
		"pages/a/hello.txt":  "hello",
		"pages/a/visits.log": "",
	})
	visit := func() {
		t.Helper()
		p.write("pages/a/visits.log", "one more")
		if got := p.Affected([]string{p.path("pages/a/visits.log")}); len(got) > 0 {
			t.Error("a file that is no input causes a build")
		}
	}
	visit() // nothing is known yet
	p.midway(visit)
	visit()
	p.write("pages/a/main.go", "package main\n\nimport _ \"embed\"\n\n//go:embed hello.txt\nvar hello string\n\nfunc main() { println(hello, 1) }\n")
	if p.midway(visit) {
		t.Error("a file that is no input makes the build stale")
	}
	p.write("pages/a/main.go", "package main\n\nimport _ \"embed\"\n\n//go:embed hello.txt\nvar hello string\n\nfunc main() { print(hello) }\n")
	if !p.midway(func() { p.write("pages/a/hello.txt", "bye") }) {
		t.Error("an embedded file that changed before it was known as one does not make the build stale")
	}
}

func TestOfWhatWasNotForeseenTheTimeOfItsChangeTells(t *testing.T) {
	parallel(t)
	began := time.Now()
	in := inputs{Dirs: []string{"/a"}}
	a := attempt{began: began, before: snapshot{"/a/x.go": {content: "1"}}}
	for name, c := range map[string]struct {
		changed time.Duration
		stale   bool
	}{
		"long before": {-time.Hour, false},
		"just before": {-time.Millisecond, true}, // the time may be rounded down
		"after":       {time.Millisecond, true},
	} {
		after := snapshot{"/a/x.go": {content: "1"}, "/lib/y.go": {content: "1", changed: began.Add(c.changed)}}
		if got := a.changed(in, after); got != c.stale {
			t.Errorf("a file that changed %s the build began: stale is %v", name, got)
		}
		a.before["/lib/y.go"] = after["/lib/y.go"]
		if a.changed(in, after) {
			t.Errorf("a file that changed %s the build began makes it stale, though it was foreseen", name)
		}
		delete(a.before, "/lib/y.go")
	}
}

func TestNothingIsOptimizedWithoutABuildNorOfAPageThatIsGone(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	if stale, err := p.Optimize(t.Context(), p.page); stale || err != nil {
		t.Error(stale, err)
	}
	if _, err := p.Build(t.Context(), p.page, false); err != nil {
		t.Fatal(err)
	}
	p.Forget(p.page)
	if stale, err := p.Optimize(t.Context(), p.page); stale || err != nil || len(p.pages) != 0 {
		t.Errorf("Optimize returns %v, %v and knows %v", stale, err, p.pages)
	}
}

func TestWhatIsWatchedIsWatchedBeforeItIsRead(t *testing.T) {
	parallel(t)
	p := newProject(t, map[string]string{"lib/x.go": "package lib\n\nvar X = 1\n", "pages/a/main.go": libPage})
	p.good()
	p.write("pages/a/main.go", helloPage)
	p.good()
	p.write("pages/a/main.go", libPage) // of two binaries now the older is what is on disk
	b := p.again()
	lib := p.path("lib/x.go")
	b.opts.Watch = func(_ string, paths []string) {
		if !slices.Contains(paths, filepath.Dir(lib)) {
			return
		}
		p.write("lib/x.go", "package lib\n\nvar X = 2\n") // a save just then
		if len(b.Affected([]string{lib})) == 0 {
			t.Error("a save while the cache is looked at is lost")
		}
	}
	if res, err := b.Build(t.Context(), p.page, false); err != nil || res.Cached {
		t.Errorf("Build is %+v, %v", res, err)
	}
}

func TestAPageThatDroppedAnImportIsNoLongerConcerned(t *testing.T) {
	parallel(t)
	p := newProject(t, map[string]string{"lib/x.go": "package lib\n\nvar X = 1\n", "pages/a/main.go": libPage})
	p.good()
	p.write("pages/a/main.go", helloPage)
	p.good()
	if got := p.Affected([]string{p.path("lib/x.go")}); len(got) != 0 {
		t.Errorf("concerned are %v", got)
	}
	if got := p.Affected(nil); len(got) != 1 {
		t.Errorf("anything concerns %v", got)
	}
	if got := p.Affected([]string{p.path("x"), p.root}); got[p.page] != p.root {
		t.Errorf("the project's folder concerns %v", got)
	}
}

func TestACancelledBuildLeavesNothing(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	groups := make(chan int, 10) // a build runs up to three commands
	p.opts.Guard = func(pgid int) func() {
		groups <- pgid
		return func() {}
	}
	for i := range 25 {
		p.write("pages/a/main.go", fmt.Sprintf("package main\n\nimport _ \"go/types\"\n\nconst i = %d\n\nfunc main() {}\n", i))
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*i)*time.Millisecond/2)
		_, err := p.Build(ctx, p.page, false)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		for range len(groups) {
			if err := waitForGroup(<-groups); err != nil {
				t.Error(err)
			}
		}
		files, _ := filepath.Glob(filepath.Join(p.dir, "*.tmp"))
		work, _ := filepath.Glob(filepath.Join(p.dir, "work-*"))
		if len(files)+len(work) > 0 {
			t.Fatalf("cancelled after %d ms it leaves %v %v", i*i/2, files, work)
		}
	}
	p.opts.Guard = nil
	p.good()
}

func TestACancelledBuildTakesTheCompilersProcessesWithIt(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	dir := t.TempDir()
	tool, began := filepath.Join(dir, "tool"), filepath.Join(dir, "began")
	script := "#!/bin/sh\ncase \"$2\" in -V*) exec \"$@\" ;; esac\nsleep 1000 &\ntouch " + began + "\nwait\n"
	if err := os.WriteFile(tool, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	p.Configure("", map[string]string{"GOFLAGS": "-toolexec=" + tool})
	groups := make(chan int, 10)
	p.opts.Guard = func(pgid int) func() { groups <- pgid; return func() {} }
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var watching sync.WaitGroup
	watching.Go(func() { // ends when the compiler runs, or with the build
		defer cancel()
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				if _, err := os.Stat(began); err == nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	if _, err := p.Build(ctx, p.page, false); !errors.Is(err, context.Canceled) {
		t.Errorf("Build is %v", err)
	}
	cancel()
	watching.Wait()
	for range len(groups) {
		if err := waitForGroup(<-groups); err != nil {
			t.Error(err)
		}
	}
	p.wantFiles(0)
}

func TestALinkedPageFolderIsLookedInto(t *testing.T) {
	parallel(t)
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "real"), 0o755)
	os.WriteFile(filepath.Join(dir, "real", "x.txt"), nil, 0o644)
	os.Symlink("real", filepath.Join(dir, "link"))
	in := inputs{Embeds: []embed{{Dir: filepath.Join(dir, "link"), Patterns: []string{"*"}}}}
	if got := in.snapshot(); len(got) != 1 {
		t.Errorf("found are %v", got)
	}
}

// The go command reads the heads of test files too, before it builds.
func TestAFileOfTestsConcernsABuildThatFailed(t *testing.T) {
	const test = "package main\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) {}\n"
	for name, c := range map[string]struct {
		file, half, whole string
		more              map[string]string
	}{
		"empty":           {"pages/a/main_test.go", "", test, nil},
		"half":            {"pages/a/main_test.go", "packa", test, nil},
		"another package": {"pages/a/main_test.go", "package other\n", test, nil},
		"removed":         {"pages/a/main_test.go", "", "", nil},
		"of a library": {"lib/x_test.go", "", strings.Replace(test, "main", "lib", 1), map[string]string{
			"lib/x.go": "package lib\n\nvar X = 1\n", "pages/a/main.go": libPage,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			parallel(t)
			p := newProject(t, c.more)
			p.write(c.file, c.half)
			finish := func() {
				if c.whole == "" {
					p.remove(c.file)
				} else {
					p.write(c.file, c.whole)
				}
			}
			if res := p.build(); res.Binary != "" {
				t.Skip("this go command reads no tests")
			}
			if got := p.Affected([]string{p.path(c.file)}); got[p.page] == "" {
				t.Error("a file of tests does not concern the build that it broke")
			}
			if !p.midway(finish) {
				t.Error("a file of tests that was finished during the build does not make it stale")
			}
			if p.midway(func() {}) {
				t.Error("nothing changed, and the build is stale")
			}
			p.good()
			if got := p.Affected([]string{p.path(c.file)}); got[p.page] != "" {
				t.Error("a file of tests concerns a build that is good")
			}
			p.write(c.file, c.half)
			if res := p.build(); !res.Cached {
				t.Errorf("what builds is built again for a file of tests: %+v", res)
			}
		})
	}
}
