package build

import (
	"os/exec"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatFlagsOfCgoNameIsRead(t *testing.T) {
	p := listed{
		Dir:         "/p/lib/a",
		CgoCFLAGS:   []string{"-O2", "-I/p/lib/a/../inc", "-I", "../more", "-I/usr/include/x", "-I/p/lib/a", "-I/p", "-include", "/p/lib/config.h", "-Ia"},
		CgoLDFLAGS:  []string{"-L/p/lib/bin", "-lfoo", "-lm", "/p/lib/x.a", "-L/usr/lib", "-Wl,-z,now"},
		CgoCXXFLAGS: []string{"-isystem", "/p/lib/sys"},
	}
	var got []string
	for _, e := range p.cgoInputs("/p", "") {
		if e.Package != p.Dir {
			t.Errorf("%+v is of no package", e)
		}
		got = append(got, e.Dir+" "+e.Patterns[0]+" "+e.Patterns[len(e.Patterns)-1])
	}
	slices.Sort(got)
	want := []string{
		"/p *.h *.inl", "/p/lib config.h config.h", "/p/lib x.a x.a", "/p/lib/a/a *.h */*/*/*/*.inl",
		"/p/lib/bin libfoo.a libm.so", "/p/lib/inc *.h */*/*/*/*.inl", "/p/lib/more *.h */*/*/*/*.inl", "/p/lib/sys *.h */*/*/*/*.inl",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFilesThatCgoNamesGoIntoABinary(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("there is no C compiler")
	}
	parallel(t)
	const lib = "package lib\n\n// #cgo CFLAGS: -I${SRCDIR}/../inc\n// #include \"deep/x.h\"\nimport \"C\"\n\nvar X = int(C.X)\n"
	p := openProject(t, t.TempDir()+"/project", map[string]string{ // cgo takes no spaces in SRCDIR
		"pages/a/main.go": libPage, "lib/x.go": lib, "inc/deep/x.h": "#define X 1\n", "inc/data.txt": "",
	})
	p.env["CGO_ENABLED"] = "1"
	p.Builder = p.again()
	if got := p.prints(p.good()); got != "1" {
		t.Errorf("it prints %s", got)
	}
	if !p.build().Cached {
		t.Error("nothing changed, and the page is built again")
	}
	if got := p.Affected([]string{p.path("inc/data.txt")}); len(got) > 0 {
		t.Error("a file that is no header causes a build")
	}
	p.wantChange(func() { p.write("inc/deep/x.h", "#define X 2\n") }, "inc/deep/x.h")
	if got := p.prints(p.good()); got != "2" {
		t.Errorf("after a change of the header it prints %s", got)
	}
	// A server that knows nothing of the page, where the go command does.
	p.write("inc/deep/x.h", "#define X 3\n")
	b := p.server(t.TempDir(), "")
	known := p.Builder
	p.Builder = b
	if got := p.prints(p.good()); got != "3" {
		t.Errorf("another server's page prints %s", got)
	}
	p.Builder = known
	// With a page that it is built together with.
	p.write("pages/a/main.go", libPage+"\nvar _ = 1\n")
	p.write("inc/deep/x.h", "#define X 4\n")
	if got := p.prints(p.good()); got != "4" {
		t.Errorf("after a change of both it prints %s", got)
	}
}
