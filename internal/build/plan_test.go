package build

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// planned is a page of two files and a package, of which there is a plan.
func planned(t *testing.T) *testProject {
	t.Helper()
	p := newProject(t, map[string]string{
		"pages/a/main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"ex/shared\"\n)\n\nfunc main() { fmt.Println(text(), shared.Text) }\n",
		"pages/a/text.go": "package main\n\nfunc text() string { return \"one\" }\n",
		"shared/text.go":  "package shared\n\nconst Text = \"shared\"\n",
	})
	p.Configure("-s -w", p.opts.Env)
	p.build()
	for i := range 5 { // one that turns out to be stale is built again, for which nothing is compiled
		p.write("pages/a/text.go", fmt.Sprintf("package main\n\nfunc text() string { return \"%d\" }\n", i))
		p.build()
		if p.plan() != nil {
			return p
		}
	}
	t.Fatal("there is no plan: the go command says otherwise what it runs")
	return nil
}

func (p *testProject) plan() *plan { return p.readPlan(p.pages[p.page].id) }

// replan changes the page's plan.
func (p *testProject) replan(change func(*plan)) {
	p.Helper()
	known := p.plan()
	change(known)
	text, err := json.Marshal(known)
	if err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(p.planFile(p.pages[p.page].id), text, 0o600); err != nil {
		p.Fatal(err)
	}
}

// buildsByPlan builds the page and reports whether that was by a plan.
func (p *testProject) buildsByPlan() bool {
	p.Helper()
	p.ran()
	res, err := p.Build(p.Context(), p.page, false)
	if err != nil {
		p.Fatal(err)
	}
	if res.Cached {
		p.Error("nothing was built")
	}
	p.newest = res.Binary
	return res.Binary != "" && len(p.ran()) == 0
}

// ordinary is what the go command makes of the page.
func (p *testProject) ordinary() []byte {
	p.Helper()
	out := filepath.Join(p.TempDir(), "page")
	cmd := exec.CommandContext(p.Context(), "go", "build", "-buildvcs=false", "-ldflags="+p.environment().linkerFlags(), "-o", out, ".")
	cmd.Dir, cmd.Env = p.page, p.environment().environ()
	if text, err := cmd.CombinedOutput(); err != nil {
		p.Fatalf("%v\n%s", err, text)
	}
	made, err := os.ReadFile(out)
	if err != nil {
		p.Fatal(err)
	}
	return made
}

func TestAPlanMakesWhatTheGoCommandMakes(t *testing.T) {
	parallel(t)
	p := planned(t)
	edits := 25
	if testing.Short() {
		edits = 5
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range edits {
		for _, name := range []string{"pages/a/main.go", "pages/a/text.go"} {
			p.edit(name, r)
		}
		if !p.buildsByPlan() {
			t.Fatalf("edit %d is not built by the plan:\n%s", i, p.text())
		}
		made, err := os.ReadFile(p.newest)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made, p.ordinary()) {
			t.Fatalf("edit %d makes another program than the go command does:\n%s", i, p.text())
		}
	}
}

// edit changes, at random, what follows the imports of a file.
func (p *testProject) edit(name string, r *rand.Rand) {
	p.Helper()
	text, err := os.ReadFile(p.path(name))
	if err != nil {
		p.Fatal(err)
	}
	n := r.Int()
	declaration := []string{
		"// %d is a remark.\n",
		"var _ = \"%d\"\n",
		"func init() { println(%d) }\n",
		"type t%[1]d struct{ a, b int }\n\nfunc (t t%[1]d) sum() int { return t.a + t.b }\n\nvar _ interface{ sum() int } = t%[1]d{}\n",
		"func f%[1]d[T any](x ...T) int { defer func() { recover() }(); return len(x) + %[1]d }\n\nvar _ = f%[1]d(\"a\", \"b\")\n",
		"func g%[1]d() func() int {\n\tx := %[1]d\n\treturn func() int { x++; go func() {}(); return x }\n}\n\nvar G%[1]d = g%[1]d()\n",
		"const c%[1]d = iota + %[1]d\n\nvar m%[1]d = map[string]int{\"a\": c%[1]d}\n\nfunc init() { println(len(m%[1]d)) }\n",
		"//line elsewhere.go:7\nvar _ = %d\n",
		"//go:noinline\nfunc h%[1]d(n int) int {\n\tif n == 0 {\n\t\tpanic(\"%[1]d\")\n\t}\n\treturn h%[1]d(n-1) + 1\n}\n\nvar H%[1]d = h%[1]d\n",
	}[r.IntN(9)]
	p.write(name, string(text)+"\n"+fmt.Sprintf(declaration, n))
}

func (p *testProject) text() string {
	var all strings.Builder
	for _, name := range []string{"pages/a/main.go", "pages/a/text.go"} {
		text, _ := os.ReadFile(p.path(name))
		fmt.Fprintf(&all, "--- %s\n%s", name, text)
	}
	return all.String()
}

func TestWhenThereIsDoubtTheGoCommandBuilds(t *testing.T) {
	text := "package main\n\nfunc text() string { return \"three\" }\n"
	for name, change := range map[string]func(p *testProject){
		"another import": func(p *testProject) {
			p.write("pages/a/text.go", "package main\n\nimport \"strings\"\n\nfunc text() string { return strings.ToUpper(\"three\") }\n")
		},
		"an import less": func(p *testProject) {
			p.write("pages/a/main.go", "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(text()) }\n")
		},
		"an import by another name": func(p *testProject) {
			p.write("pages/a/main.go", "package main\n\nimport (\n\t. \"fmt\"\n\n\t\"ex/shared\"\n)\n\nfunc main() { Println(text(), shared.Text) }\n")
		},
		"another file": func(p *testProject) { p.write("pages/a/text.go", text); p.write("pages/a/more.go", "package main\n") },
		"a file less": func(p *testProject) {
			p.remove("pages/a/text.go")
			p.write("pages/a/main.go", "package main\n\nimport (\n\t\"fmt\"\n\n\t\"ex/shared\"\n)\n\nfunc text() string { return \"three\" }\n\nfunc main() { fmt.Println(text(), shared.Text) }\n")
		},
		"a file by another name":    func(p *testProject) { p.rename("pages/a/text.go", "pages/a/words.go") },
		"a file for another system": func(p *testProject) { p.write("pages/a/text_plan9.go", "package main\n") },
		"a condition":               func(p *testProject) { p.write("pages/a/text.go", "//go:build !plan9\n\n"+text) },
		"a setting of the runtime": func(p *testProject) {
			p.write("pages/a/main.go", "//go:debug panicnil=1\npackage main\n\nimport (\n\t\"fmt\"\n\n\t\"ex/shared\"\n)\n\nfunc main() { fmt.Println(text(), shared.Text) }\n")
		},
		"something embedded": func(p *testProject) {
			p.write("pages/a/x.txt", "x")
			p.write("pages/a/text.go", "package main\n\nimport _ \"embed\"\n\n//go:embed x.txt\nvar x string\n\nfunc text() string { return x }\n")
		},
		"an assembler's file":   func(p *testProject) { p.write("pages/a/text.go", text); p.write("pages/a/empty.s", "// nothing\n") },
		"a profile":             func(p *testProject) { p.write("pages/a/text.go", text); p.write("pages/a/default.pgo", "") },
		"what the page imports": func(p *testProject) { p.write("shared/text.go", "package shared\n\nconst Text = \"other\"\n") },
		"the module":            func(p *testProject) { p.write("go.mod", "module ex\n\ngo 1.25\n"); p.write("pages/a/text.go", text) },
		"a workspace": func(p *testProject) {
			p.write("go.work", "go 1.26\n\nuse .\n")
			p.opts.Env["GOFLAGS"] = ""
			p.write("pages/a/text.go", text)
		},
		"the linker's flags": func(p *testProject) { p.Configure("-s", p.opts.Env); p.write("pages/a/text.go", text) },
		"the compiler's flags": func(p *testProject) {
			p.env["GOFLAGS"] = "-gcflags=-N"
			p.Configure("-s -w", p.env)
			p.write("pages/a/text.go", text)
		},
		"a folder of packages lost": func(p *testProject) {
			p.replan(func(known *plan) {
				for name, config := range known.Commands.Configs {
					known.Commands.Configs[name] = strings.ReplaceAll(config, "packagefile fmt=", "packagefile fmt=/gone")
				}
			})
			p.write("pages/a/text.go", text)
		},
		"no compiler": func(p *testProject) {
			p.replan(func(known *plan) { known.Commands.Compile.Args[0] = "/gone" })
			p.write("pages/a/text.go", text)
		},
	} {
		t.Run(name, func(t *testing.T) {
			parallel(t)
			p := planned(t)
			change(p)
			if p.buildsByPlan() {
				t.Fatal("the plan was used")
			}
			made, err := os.ReadFile(p.newest)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(made, p.ordinary()) {
				t.Error("it is another program than the go command makes")
			}
		})
	}
}

func TestAPlanOutlivesTheServer(t *testing.T) {
	parallel(t)
	p := planned(t)
	p.write("pages/a/text.go", "package main\n\nfunc text() string { return \"later\" }\n")
	p.Builder = p.again()
	if !p.buildsByPlan() {
		t.Error("the plan was not used")
	}
}

func TestAPlanThatMisleadsIsMadeAnew(t *testing.T) {
	parallel(t)
	p := planned(t)
	p.replan(func(known *plan) { known.Commands.Compile.Args[0] = "/gone" })
	p.write("pages/a/text.go", "package main\n\nfunc text() string { return \"later\" }\n")
	if p.buildsByPlan() || p.plan() != nil {
		t.Error("the plan still stands")
	}
	p.write("pages/a/text.go", "package main\n\nfunc text() string { return \"later still\" }\n")
	p.good()
	if p.plan() == nil {
		t.Error("there is no plan")
	}
	for _, text := range []string{"", "{", "{}", `{"Commands":{"Compile":{"Args":["a"]},"Link":{"Args":["b"]}}}`} {
		if err := os.WriteFile(p.planFile(p.pages[p.page].id), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if p.plan() != nil {
			t.Errorf("%q is a plan", text)
		}
	}
}

func TestNothingLargeIsReadAtOnce(t *testing.T) { // not in parallel: it counts what the process allocates
	for name, files := range map[string]map[string]string{
		"large":    {"pages/a/main.go": "package main\n\nvar large = [16 << 20]byte{1}\n\nfunc main() { println(large[0], text()) }\n"},
		"embedded": {"pages/a/main.go": "package main\n\nimport _ \"embed\"\n\n//go:embed large\nvar large string\n\nfunc main() { println(len(large), text()) }\n", "pages/a/large": strings.Repeat("large", 4<<20)},
	} {
		p := newProject(t, files)
		p.Configure("-s -w", p.opts.Env)
		for i := range 3 {
			p.write("pages/a/text.go", fmt.Sprintf("package main\n\nfunc text() string { return \"%d\" }\n", i))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p.good()
			runtime.ReadMemStats(&after)
			if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got >= 8 {
				t.Errorf("%s: build %d allocates %d MiB", name, i, got)
			}
		}
		if name == "large" && p.plan() == nil {
			t.Error("there is no plan")
		}
	}
}

func TestWithAPlanMistakesAreSaidAsWithout(t *testing.T) {
	parallel(t)
	p := planned(t)
	for text, want := range map[string]string{
		"package main\n\nfunc text() string { return 3 }\n":                                        "pages/a/text.go:3:29: cannot use 3 (untyped int constant) as string value in return statement",
		"package main\n\nfunc text() string { return \"\"\n":                                       "pages/a/text.go:4:1: syntax error: unexpected EOF, expected }",
		"package main\n\nfunc text() string\n":                                                     "pages/a/text.go:3:6: missing function body",
		"package main\n\nfunc text() string { return \"\" }\n\nimport \"os\"\n\nvar _ = os.Args\n": "pages/a/text.go:5:1: syntax error: imports must appear before other declarations",
	} {
		p.write("pages/a/text.go", text)
		res, err := p.Build(t.Context(), p.page, false)
		if err != nil || len(res.Problems) != 1 || res.Problems[0].String() != want {
			t.Errorf("of %q is said %v, %v, want %s", text, res.Problems, err, want)
		}
	}
	p.write("pages/a/text.go", "package main\n\nfunc text() string { return \"mended\" }\n")
	if !p.buildsByPlan() {
		t.Error("after mistakes the plan is not used any more")
	}
}

func TestThereIsNoPlanOfWhatIsNotUnderstood(t *testing.T) {
	const dir = "/p/a"
	good := []string{
		"WORK=/w\n", "mkdir -p $WORK/b001/\n", "cat >/w/b001/importcfg << 'EOF' # internal\npackagefile fmt=/c/fmt\nEOF\n", "cd /p/a\n",
		"/go/compile -o $WORK/b001/_pkg_.a -trimpath \"$WORK/b001=>\" -p main -importcfg $WORK/b001/importcfg -pack ./main.go\n",
		"cat >/w/b001/importcfg.link << 'EOF' # internal\npackagefile ex/a=/w/b001/_pkg_.a\nEOF\n",
		"GOROOT='/go' /go/link -o $WORK/b001/exe/a.out -importcfg $WORK/b001/importcfg.link -X \"a=b c\" $WORK/b001/_pkg_.a\n",
	}
	said := func(lines []string) []byte {
		var b bytes.Buffer
		for i, line := range lines {
			page := "ex/a"
			if i == 0 {
				page = ""
			}
			fmt.Fprintf(&b, `{"ImportPath":%q,"Action":"build-output","Output":%q}`+"\n", page, line)
		}
		return b.Bytes()
	}
	c := parseCommands(said(good), dir)
	if c == nil {
		t.Fatal("no plan")
	}
	if got := strings.Join(c.Link.Args, "|"); got != "/go/link|-o|/w/b001/exe/a.out|-importcfg|/w/b001/importcfg.link|-X|a=b c|/w/b001/_pkg_.a" || c.Link.Env[0] != "GOROOT=/go" {
		t.Errorf("the linker's command is %s, with %s", got, c.Link.Env)
	}
	for name, change := range map[string][2]string{
		"another tool":              {"mkdir -p $WORK/b001/\n", "/go/cgo -objdir $WORK/b001/\n"},
		"embedded files":            {"-p main", "-p main -embedcfg $WORK/b001/embedcfg"},
		"assembly":                  {"-p main", "-p main -symabis $WORK/b001/symabis"},
		"instruments":               {"-p main", "-p main -race"},
		"another folder":            {"cd /p/a", "cd /p/b"},
		"a package of this build":   {"fmt=/c/fmt", "fmt=/w/b002/_pkg_.a"},
		"a quote that does not end": {"\"a=b c\"", "\"a=b c"},
		"a name with a quote":       {"GOROOT='/go'", `GOROOT='/g\'o'`},
		"no compiler":               {"/go/compile", "/go/compiled"},
	} {
		var changed []string
		for _, line := range good {
			changed = append(changed, strings.ReplaceAll(line, change[0], change[1]))
		}
		if parseCommands(said(changed), dir) != nil {
			t.Errorf("%s: there is a plan", name)
		}
	}
	kept := slices.Insert(slices.Clone(good), 1, "cp $WORK/b002/_pkg_.a /c/fmt2 # internal\n")
	for i, line := range kept {
		kept[i] = strings.ReplaceAll(line, "fmt=/c/fmt", "fmt=/w/b002/_pkg_.a")
	}
	if c := parseCommands(said(kept), dir); c == nil || !strings.Contains(c.Configs["b001/importcfg"], "fmt=/c/fmt2\n") {
		t.Errorf("of a package that the cache has a copy of the plan is %v", c)
	}
	if parseCommands([]byte("no JSON"), dir) != nil || parseCommands(nil, dir) != nil {
		t.Error("of nothing there is a plan")
	}
}

func TestAPackageWithNothingButGoIsRecognizedByItsFlags(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]bool{
		"compile -o x.a -trimpath w=> -p main -lang=go1.26 -complete -buildid abc/abc -goversion go1.26.8 -c=2 -nolocalimports -importcfg cfg -pack main.go": true,
		"compile -o x.a -p main -complete -buildid -fCpFjs1G5cUNZ80ZEF-/-fCpFjs1G5cUNZ80ZEF- -goversion go1.26.8 -importcfg cfg -pack main.go":               true,
		"compile -o x.a -p main -buildid abc -embedcfg e -importcfg cfg -pack main.go":                                                                       false,
		"compile -o x.a -p main -buildid abc -symabis s -importcfg cfg -pack main.go":                                                                        false,
		"compile -o x.a -p main -buildid abc -race -importcfg cfg -pack main.go":                                                                             false,
	} {
		if got := isOnlyGo(strings.Fields(command)); got != want {
			t.Errorf("%s: %v", command, got)
		}
	}
}
