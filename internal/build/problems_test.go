package build

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/state"
)

func TestMessagesOfTheGoCommandAreProblems(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []state.Problem
	}{
		"nothing": {"", nil},
		"places": {
			"# ex/a\n./main.go:4:2: undefined: x\n../../lib/my lib.go:7: y\n/elsewhere/z.go:1:1: z\n./main.go:14:2: too many errors\n",
			[]state.Problem{
				{File: "pages/a/main.go", Line: 4, Column: 2, Message: "undefined: x"},
				{File: "lib/my lib.go", Line: 7, Message: "y"},
				{File: "/elsewhere/z.go", Line: 1, Column: 1, Message: "z"},
				{File: "pages/a/main.go", Line: 14, Column: 2, Message: "too many errors"},
			},
		},
		"several lines": {
			"./main.go:5:11: cannot use T{}\r\n\t\thave A(int)\r\n\t\twant A()\r\n./main.go:7:6: f redeclared\n\t./main.go:6:6: other declaration of f\n",
			[]state.Problem{
				{File: "pages/a/main.go", Line: 5, Column: 11, Message: "cannot use T{}\n\t\thave A(int)\n\t\twant A()"},
				{File: "pages/a/main.go", Line: 7, Column: 6, Message: "f redeclared\n\t./main.go:6:6: other declaration of f"},
			},
		},
		"an import cycle": {
			"package ex/a\n\timports ex/b from a.go\n\timports ex/b from b.go: import cycle not allowed\n",
			[]state.Problem{{Message: "package ex/a\n\timports ex/b from a.go\n\timports ex/b from b.go: import cycle not allowed"}},
		},
		"a chain of imports": {
			"package ex/a\n\tmain.go:3:8: use of internal package cmd/internal/obj not allowed\n",
			[]state.Problem{{File: "pages/a/main.go", Line: 3, Column: 8, Message: "use of internal package cmd/internal/obj not allowed\npackage ex/a"}},
		},
		"a missing package": {
			"main.go:2:21: no required module provides package github.com/no/such; to add it:\n\tgo get github.com/no/such\n",
			[]state.Problem{{File: "pages/a/main.go", Line: 2, Column: 21, Message: "no required module provides package github.com/no/such; to add it:\n\tgo get github.com/no/such"}},
		},
		"an embed pattern": {
			"main.go:3:12: pattern no.txt: no matching files found\n",
			[]state.Problem{{File: "pages/a/main.go", Line: 3, Column: 12, Message: "pattern no.txt: no matching files found"}},
		},
		"go.mod": {
			"go: errors parsing ../../go.mod:\n../../go.mod:3: unknown directive: bla\n../../go.work:4:2: x\n",
			[]state.Problem{{File: "go.mod", Line: 3, Message: "unknown directive: bla"}, {File: "go.work", Line: 4, Column: 2, Message: "x"}},
		},
		"the way there": {
			"go: downloading example.com/x v1.0.0\ngo: example.com/x@v1.0.0: dial tcp: lookup proxy.golang.org:443: no such host\n",
			[]state.Problem{{Message: "example.com/x@v1.0.0: dial tcp: lookup proxy.golang.org:443: no such host"}},
		},
		"gcc": {
			"# ex/a\n./main.go:3:10: fatal error: no.h: No such file or directory\n    3 | #include \"no.h\"\n      |          ^~~~~~\ncompilation terminated.\n",
			[]state.Problem{
				{File: "pages/a/main.go", Line: 3, Column: 10, Message: "fatal error: no.h: No such file or directory\n    3 | #include \"no.h\"\n      |          ^~~~~~"},
				{Message: "compilation terminated."},
			},
		},
		"the linker": {
			"# ex/a\nruntime.main_main·f: function main is undeclared in the main package\n",
			[]state.Problem{{Message: "runtime.main_main·f: function main is undeclared in the main package"}},
		},
		"what no terminal should get": {
			"./main.go:2:20: \xff\x1b[2J\n",
			[]state.Problem{{File: "pages/a/main.go", Line: 2, Column: 20, Message: "\uFFFD"}},
		},
		"a continuation of nothing": {"\tgo get x\n", []state.Problem{{Message: "go get x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, parseProblems(c.text, "/p/pages/a", "/p")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParseProblems(f *testing.F) {
	for _, seed := range []string{"./main.go:4:2: x\n\ty\n", "package a\n\tb.go:1:1: c\n", "go: errors parsing go.mod:\ngo.mod:3: x", "\xff:1:1: \x1b", " \n\t\n", "a.go:999999999999999999999: x", "x.go:1: "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, p := range parseProblems(text, "/p/pages/a", "/p") {
			if strings.TrimSpace(p.Message) == "" && p.File == "" || p.Line < 0 || p.Column < 0 {
				t.Errorf("an empty problem: %#v", p)
			}
			for _, s := range []string{p.File, p.Message} {
				if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && unicode.IsControl(r) }) {
					t.Errorf("not to be printed: %q", s)
				}
			}
		}
	})
}

func TestWhatTheGoCommandReallySaysIsAProblem(t *testing.T) {
	parallel(t)
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a syntax error", map[string]string{"pages/a/main.go": "package main\n\nfunc main() {\n"}, "pages/a/main.go:4:1: syntax error: unexpected EOF"},
		{"too many", map[string]string{"pages/a/main.go": "package main\n\nfunc main() {\n" + strings.Repeat("\tx()\n", 12) + "}\n"}, "pages/a/main.go:4:2: undefined: x"},
		{"in an import", map[string]string{"pages/a/main.go": libPage, "lib/x.go": "package lib\n\nvar X = y\n"}, "lib/x.go:3:9: undefined: y"},
		{"a cycle", map[string]string{"pages/a/main.go": libPage, "lib/x.go": "package lib\n\nimport _ \"ex/lib2\"\n", "lib2/x.go": "package lib2\n\nimport _ \"ex/lib\"\n"}, "package ex/pages/a"},
		{"a missing package", map[string]string{"pages/a/main.go": libPage}, "pages/a/main.go:3:8: package ex/lib is not in std"},
		{"a missing module", map[string]string{"pages/a/main.go": strings.Replace(libPage, "ex/", "example.com/", 1)}, "pages/a/main.go:3:8: no required module provides package"},
		{"go.mod", map[string]string{"go.mod": "module ex\n\nbla\n"}, "go.mod:3: unknown directive: bla"},
		{"a newer Go", map[string]string{"go.mod": "module ex\n\ngo 1.999\n"}, "../../go.mod requires go >= 1.999"},
		{"a pattern", map[string]string{"pages/a/main.go": "package main\n\nimport _ \"embed\"\n\n//go:embed no\nvar x string\n\nfunc main() {}\n"}, "pages/a/main.go:5:12: pattern no: no matching files found"},
		{"UTF-8", map[string]string{"pages/a/main.go": "package main\n\nvar x = \"\xff\"\n\nfunc main() {}\n"}, "pages/a/main.go:3:10: invalid UTF-8 encoding"},
		{"no main", map[string]string{"pages/a/main.go": "package main\n"}, "runtime.main_main·f: function main is undeclared"},
		{"two packages", map[string]string{"pages/a/x.go": "package x\n"}, "found packages main (main.go) and x (x.go) in"},
		{"constraints", map[string]string{"pages/a/main.go": "//go:build never\n\n" + helloPage}, "package ex/pages/a: build constraints exclude all Go files"},
	} {
		p := newProject(t, c.files)
		p.Configure("", map[string]string{"GOTOOLCHAIN": "local", "GOPROXY": "off"})
		res, err := p.Build(t.Context(), p.page, false)
		if err != nil || len(res.Problems) == 0 || !strings.HasPrefix(res.Problems[0].String(), c.want) {
			t.Errorf("%s: Build is %+v, %v, want %s", c.name, res, err, c.want)
		}
		p.wantFiles(0)
	}
}

func TestWhatKeepsTheCompilerFromItsWorkIsNotTheProgramsFault(t *testing.T) {
	for text, want := range map[string]bool{
		"link: write /tmp/x: no space left on device":                    true,
		"compile: signal: killed":                                        true,
		"main.go:3:4: \"no space left on device\" (untyped) is not used": false,
		"package x; expected main":                                       false,
	} {
		p := parseProblems(text, "/p", "/p")[0]
		if got := toolFailure(p) != nil; got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if err := toolFailure(state.Problem{Message: "disk: " + syscall.EDQUOT.Error()}); !errors.Is(err, syscall.EDQUOT) {
		t.Error(err)
	}
}
