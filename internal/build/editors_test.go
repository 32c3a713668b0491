package build

import (
	"errors"
	"os"
	"testing"
)

var editorsNames = []string{
	".#a.html", "#a.html#", "a.html~", "a.html.~1~", ".a.html.swp", ".a.html.swo", ".a.html.swpx", "a.html.swp", "4913", ".a.html.un~",
	"a.html___jb_tmp___", "a.html___jb_old___", "a.html___jb_bak___", ".a.html.kate-swp", ".a.html.kak.Xd3k2f", ".goutputstream-1A2B3C", ".subl3f2.tmp", ".~lock.a.html#", "~$a.html", ".nfs0000001", ".DS_Store",
}

func TestFilesOfEditorsAreKnownByName(t *testing.T) {
	for _, name := range editorsNames {
		if !IsEditorFile(name) {
			t.Errorf("%s is taken for what somebody saves", name)
		}
	}
	for _, name := range []string{"a.html", "main.go", ".htaccess", ".well-known", "#", "49130", "a.swf", "_a", "a#b", "a~b", ".env", ".swift", "x___y", "go.mod", ".gitkeep"} {
		if IsEditorFile(name) {
			t.Errorf("%s is taken for an editor's", name)
		}
	}
}

func embeddingPage(pattern string) map[string]string {
	return map[string]string{
		"pages/a/main.go": "package main\n\nimport (\n\t\"embed\"\n\t\"io/fs\"\n)\n\n//go:embed " + pattern + "\nvar files embed.FS\n\nfunc main() {\n" +
			"\tfs.WalkDir(files, \".\", func(path string, d fs.DirEntry, err error) error {\n\t\tif !d.IsDir() {\n\t\t\tprint(path, \" \")\n\t\t}\n\t\treturn nil\n\t})\n}\n",
		"pages/a/web/a.html":   "a",
		"pages/a/web/d/b.html": "b",
	}
}

func TestFilesOfEditorsInEmbedsMeanNothing(t *testing.T) {
	const want = "web/a.html web/d/b.html"
	for _, pattern := range []string{"web/* web/d/*.html", "all:web", "web/*.html web/d"} {
		t.Run(pattern, func(t *testing.T) {
			parallel(t)
			p := newProject(t, embeddingPage(pattern))
			binary := p.good()
			for _, dir := range []string{"pages/a/web/", "pages/a/web/d/"} {
				for _, name := range editorsNames {
					var err error
					if name == ".#a.html" {
						err = os.Symlink("somebody@host.4711:1", p.path(dir+".#a.html"))
					} else {
						err = os.WriteFile(p.path(dir+name), []byte("half"), 0o600)
					}
					if err != nil {
						t.Fatal(err)
					}
					if got := p.Affected([]string{p.path(dir + name)}); len(got) > 0 {
						t.Errorf("%s%s causes a build", dir, name)
					}
				}
			}
			if res := p.build(); !res.Cached || res.Binary != binary {
				t.Errorf("with files of editors the page is built again: %+v", res)
			}
			// They are there while other files are saved.
			p.write("pages/a/more.go", "package main\n\nfunc init() { print() }\n")
			if got := p.prints(p.good()); got != want {
				t.Errorf("embedded are %s", got)
			}
			// A server that knows nothing of the page yet.
			b := p.server(t.TempDir(), "")
			res, err := b.Build(t.Context(), p.page, false)
			if err != nil || res.Binary == "" {
				t.Fatalf("the first build is %+v, %v", res, err)
			}
			if pattern == "all:web" {
				return // nothing is wrong with it, so that nobody looked
			}
			if got := p.prints(res.Binary); got != want {
				t.Errorf("embedded at first are %s", got)
			}
		})
	}
}

func TestAFileOfAnEditorThatIsAskedForByNameCounts(t *testing.T) {
	parallel(t)
	p := newProject(t, embeddingPage("web/4913 web/*.html"))
	p.write("pages/a/web/4913", "wanted")
	if got := p.prints(p.good()); got != "web/4913 web/a.html" {
		t.Errorf("embedded are %s", got)
	}
	p.wantChange(func() { p.write("pages/a/web/4913", "x") }, "pages/a/web/4913")
	p.write("pages/a/web/a.html~", "old")
	p.write("pages/a/more.go", "package main\n\nfunc init() { print() }\n")
	if got := p.prints(p.good()); got != "web/4913 web/a.html" {
		t.Errorf("embedded are %s", got)
	}
}

func TestFilesOfEditorsAreHiddenOnTopOfAnOverlay(t *testing.T) {
	parallel(t)
	p := newProject(t, embeddingPage("web/*.html"))
	p.write("over.json", `{"Replace": {"`+p.path("pages/a/web/a.html")+`": "", "`+p.path("pages/a/web/new.html")+`": "`+p.path("pages/a/main.go")+`"}}`)
	p.env["GOFLAGS"] = "'-overlay=" + p.path("over.json") + "'"
	p.Builder = p.again()
	p.good()
	if err := os.Symlink("nowhere", p.path("pages/a/web/.#a.html")); err != nil {
		t.Fatal(err)
	}
	p.write("pages/a/more.go", "package main\n\nfunc init() { print() }\n")
	if got := p.prints(p.good()); got != "web/new.html" {
		t.Errorf("embedded are %s", got)
	}
}

func TestWhatIsWrongBesideAFileOfAnEditorIsTold(t *testing.T) {
	parallel(t)
	p := newProject(t, embeddingPage("web/*.html"))
	if err := os.Symlink("nowhere", p.path("pages/a/web/.#a.html")); err != nil {
		t.Fatal(err)
	}
	p.write("pages/a/more.go", "package main\n\nfunc init() { undefined() }\n")
	res, err := p.Build(t.Context(), p.page, false)
	if err != nil || len(res.Problems) != 1 || res.Problems[0].Message != "undefined: undefined" {
		t.Errorf("Build is %+v, %v", res, err)
	}
	if err := errors.Join(os.Remove(p.path("pages/a/web/.#a.html")), os.Symlink("nowhere", p.path("pages/a/web/real.html"))); err != nil {
		t.Fatal(err)
	}
	p.remove("pages/a/more.go")
	if res, err := p.Build(t.Context(), p.page, false); err != nil || len(res.Problems) == 0 {
		t.Errorf("a link to nowhere that is no editor's is overlooked: %+v, %v", res, err)
	}
}
