package conventions

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "tqserver"

// imports says which of our packages and which modules each may import, and
// why. What is not named is denied.
var imports = []struct {
	pkg     string // as path.Match takes it, below the module
	allowed []string
	reason  string
}{
	{"cmd/tqserver", []string{"internal/server", "internal/config", "internal/state", "tui", "golang.org/x/sys"}, "main picks a front end and runs it, nothing else"},
	{"internal/server", []string{"internal/supervisor", "internal/watch", "internal/proxy", "internal/policy", "internal/live", "internal/sinks", "internal/static", "internal/wire", "internal/accesslog", "internal/logfile", "internal/config", "internal/router", "internal/state"}, "the composition root wires the parts; processes and builds are the supervisor's"},
	{"internal/sinks", []string{"internal/logfile", "internal/state"}, "a reader of state that writes lines; it knows neither pages nor requests"},
	{"internal/supervisor", []string{"internal/build", "internal/process", "internal/load", "internal/proxy", "internal/policy", "internal/router", "internal/config", "internal/secret", "internal/project", "internal/state"}, "it decides who lives, and gets changes of files and counts of requests from others"},
	{"internal/load", []string{"internal/process", "internal/proxy", "internal/state"}, "it measures pages and decides nothing about them"},
	{"internal/build", []string{"internal/project", "internal/state"}, "it turns a folder into a binary and knows of no server"},
	{"internal/process", []string{"internal/state", "golang.org/x/sys"}, "it keeps one child and knows of no page"},
	{"internal/config", []string{"internal/router", "internal/balance", "internal/secret", "gopkg.in/yaml.v3", "internal/project"}, "only it reads YAML"},
	{"internal/watch", []string{"github.com/fsnotify/fsnotify", "internal/project"}, "it says which files changed and knows nothing of what they mean"},
	{"internal/accesslog", []string{"internal/recovered", "internal/logfile", "internal/secret", "internal/state"}, "it formats and writes records, and knows neither the proxy nor the configuration"},
	{"internal/proxy", []string{"internal/recovered", "internal/wire", "internal/upstream", "internal/message", "internal/socket", "internal/balance", "internal/secret", "internal/policy", "internal/router", "internal/accesslog"}, "it decides who serves and must not know who lives"},
	{"internal/policy", []string{"internal/config", "internal/router", "internal/accesslog", "internal/logfile"}, "it says what holds for a path, and knows neither the client's connection nor who serves"},
	{"internal/balance", []string{"internal/secret"}, "it chooses, and knows of no connection"},
	{"internal/upstream", []string{"internal/recovered", "internal/message", "internal/socket"}, "it speaks to a worker and knows neither clients nor pages"},
	{"internal/live", []string{"internal/recovered", "internal/project", "internal/state", "internal/editor", "github.com/andybalholm/brotli", "github.com/klauspost/compress"}, "a front end in the browser looks at state; who serves is the proxy's"},
	{"internal/editor", nil, "a plain function of the environment, which the screen and the browser share"},
	{"internal/wire", []string{"internal/message", "internal/socket"}, "it reads what clients send and knows of no page"},
	{"internal/message", nil, "plain functions of bytes"},
	{"internal/socket", nil, "plain calls of the kernel"},
	{"internal/static", []string{"internal/router"}, "it serves files, whoever runs the pages"},
	{"internal/router", []string{"internal/project"}, "plain functions of folders and paths"},
	{"internal/recovered", nil, "it carries panics from one goroutine to another"},
	{"internal/logfile", []string{"internal/project"}, "it writes lines"},
	{"internal/project", nil, "plain functions of paths, for whoever shows or compares them"},
	{"internal/secret", nil, "whoever shows something must be able to mask it first"},
	{"internal/state", nil, "the vocabulary of every front end, near or far"},
	{"internal/conventions", nil, "it holds tests only"},
	{"internal/tools/screens", []string{"tui", "github.com/charmbracelet/x/ansi", "internal/tools/trial"}, "it runs the program from outside, as people do, and documents its keys"},
	{"internal/tools/bench", []string{"internal/tools/trial"}, "it measures the program from outside, as people see it"},
	{"internal/tools/chaos", []string{"internal/tools/trial", "github.com/coder/websocket", "internal/project"}, "it breaks the program from outside, as the world does"},
	{"internal/tools/trial", nil, "it runs the program from outside"},
	{"tui/calm", nil, "it must be ready before anything else is"},
	{"tui", []string{"internal/project", "internal/state", "internal/editor", "tui/calm", "github.com/charmbracelet", "github.com/muesli/termenv", "golang.org/x/sys/unix"}, "a front end reads state and sends commands; it never touches the engine"},
	{"pkg/worker", nil, "its folder can be copied into another module, and every page links it again at every save"},
	{"pkg/*", []string{"pkg/*"}, "a page links what it imports again at every save: the standard library and each other"},
	{"pages/*", []string{"pkg/*"}, "a page is a user's program: it gets what users get"},
}

type listed struct {
	ImportPath string
	Doc        string
	Imports    []string
	Dir        string
}

func packages(t *testing.T) []listed {
	t.Helper()
	// With a profile, go list names every package of cmd/tqserver once more.
	cmd := exec.Command("go", "list", "-pgo=off", "-json=ImportPath,Doc,Imports,Dir", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var l listed
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func TestImportsPointDownOnly(t *testing.T) {
	for _, p := range packages(t) {
		rel := strings.TrimPrefix(p.ImportPath, module+"/")
		i := slices.IndexFunc(imports, func(rule struct {
			pkg     string
			allowed []string
			reason  string
		}) bool {
			ok, _ := path.Match(rule.pkg, rel)
			return ok
		})
		if i < 0 {
			t.Errorf("%s has no rule: say in this test what it may import, and why", rel)
			continue
		}
		for _, imported := range p.Imports {
			if ours := strings.HasPrefix(imported, module+"/"); !ours && !strings.Contains(strings.Split(imported, "/")[0], ".") {
				continue // the standard library
			}
			name := strings.TrimPrefix(imported, module+"/")
			if !slices.ContainsFunc(imports[i].allowed, func(a string) bool {
				ok, _ := path.Match(a, name)
				return ok || strings.HasPrefix(name, a+"/")
			}) {
				t.Errorf("%s imports %s and must not: %s", rel, name, imports[i].reason)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// forbidden is what must not be called, where, and why.
var forbidden = []struct {
	call   string
	where  func(file string) bool
	reason string
}{
	{"time.Sleep", func(f string) bool { return !strings.HasPrefix(f, "pages/") }, "wait for an event; tests of time use testing/synctest"},
	{"fmt.Print", engine, "the engine publishes events, sinks print"},
	{"fmt.Println", engine, "the engine publishes events, sinks print"},
	{"fmt.Printf", engine, "the engine publishes events, sinks print"},
	{"log.Print", engine, "the engine publishes events, sinks print"},
	{"log.Printf", engine, "the engine publishes events, sinks print"},
	{"log.Println", engine, "the engine publishes events, sinks print"},
	{"log.Fatal", engine, "only main ends the program"},
	{"os.Exit", engine, "only main ends the program"},
	{"slog.Info", engine, "the engine publishes events, sinks print"},
	{"slog.Error", engine, "the engine publishes events, sinks print"},
	{"context.Background", engine, "what runs in the engine ends with the context it is given"},
	{"context.TODO", engine, "what runs in the engine ends with the context it is given"},
}

// engine reports whether a file is part of what runs inside the server.
func engine(file string) bool {
	return !strings.HasSuffix(file, "_test.go") && !strings.HasPrefix(file, "internal/tools/") && (strings.HasPrefix(file, "internal/") || strings.HasPrefix(file, "tui/"))
}

func TestNoFileCallsWhatItMustNot(t *testing.T) {
	eachFile(t, func(file string, fset *token.FileSet, parsed *ast.File) {
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := call.X.(*ast.Ident)
			if !ok || pkg.Obj != nil {
				return true
			}
			name := pkg.Name + "." + call.Sel.Name
			for _, f := range forbidden {
				if f.call == name && f.where(file) && !inSynctest(file, parsed) {
					t.Errorf("%s: %s: %s", fset.Position(n.Pos()), name, f.reason)
				}
			}
			return true
		})
	})
}

// inSynctest reports whether a test file runs in bubbles, where time stands
// still while somebody works.
func inSynctest(file string, parsed *ast.File) bool {
	return strings.HasSuffix(file, "_test.go") && slices.ContainsFunc(parsed.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` })
}

func TestThereIsNoInitFunction(t *testing.T) {
	eachFile(t, func(_ string, fset *token.FileSet, parsed *ast.File) {
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: an init function runs before main can decide anything", fset.Position(f.Pos()))
			}
		}
	})
}

func eachFile(t *testing.T, check func(file string, fset *token.FileSet, parsed *ast.File)) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "testdata" || d.Name()[0] == '.' && file != root) {
			return filepath.SkipDir
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, file)
		check(filepath.ToSlash(rel), fset, parsed)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
