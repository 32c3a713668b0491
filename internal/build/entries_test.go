package build

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (p *testProject) age(path string, by time.Duration) {
	p.Helper()
	at := time.Now().Add(-by)
	if err := os.Chtimes(path, at, at); err != nil {
		p.Fatal(err)
	}
}

func TestTheSweepTakesWhatIsOldAndUnused(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	put := func(name string, age time.Duration) string {
		path := filepath.Join(p.dir, name)
		if err := os.WriteFile(path, nil, 0o700); err != nil {
			t.Fatal(err)
		}
		p.age(path, age)
		return path
	}
	binary := p.good()
	p.write("pages/a/main.go", "package main\n\nfunc main() { println(2) }\n")
	newer := p.good()
	for _, path := range []string{binary, newer, p.entriesFile(p.pages[p.page].id)} {
		p.age(path, 48*time.Hour)
	}
	put(p.pages[p.page].id+".plan.json", 48*time.Hour)
	const old, young = 25 * time.Hour, 23 * time.Hour
	want := []string{filepath.Base(binary), filepath.Base(newer), p.pages[p.page].id + ".json", p.pages[p.page].id + ".plan.json", claimFile, "running", "previous", "young", "young.json"}
	p.age(p.claim.Name(), old)
	p.Keep(p.page, put("running", old), put("previous", old))
	put("old", old)
	put("young", young)
	put("young.json", young)
	put("old.json", old) // of a page that is gone
	put("old.7.tmp", old)
	work := filepath.Join(p.dir, "work-1")
	os.Mkdir(work, 0o700)
	p.age(work, old)
	removed, err := p.Sweep()
	if err != nil || removed != 1 {
		t.Errorf("Sweep is %d, %v", removed, err)
	}
	var got []string
	files, _ := os.ReadDir(p.dir)
	for _, f := range files {
		got = append(got, f.Name())
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestABinaryThatIsUsedAgainIsYoungAgain(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	binary := p.good()
	p.age(binary, 48*time.Hour)
	b := p.again()
	if _, err := b.Build(t.Context(), p.page, false); err != nil {
		t.Fatal(err)
	}
	b.Forget(p.page)
	if removed, err := b.Sweep(); removed != 0 || err != nil {
		t.Errorf("Sweep is %d, %v", removed, err)
	}
}

func TestABinaryThatIsGoneOrCutShortIsMadeAgain(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	binary := p.good()
	for name, spoil := range map[string]func() error{
		"gone":      func() error { return os.Remove(binary) },
		"cut short": func() error { return os.Truncate(binary, 100) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if res := p.build(); res.Cached || res.Binary != binary || p.prints(binary) != "hello" {
			t.Errorf("%s: Build is %+v", name, res)
		}
	}
}

func TestWhatWasWrittenDownMayBeRubbish(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	p.good()
	for _, text := range []string{"", "{", "[{}]", `[{"Inputs":{"Dirs":["/"]},"Binary":"../../etc/passwd"}]`, `[{"Inputs":{"Dirs":["/"]},"Binary":""}]`} {
		if err := os.WriteFile(p.entriesFile(p.pages[p.page].id), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if res, err := p.again().Build(t.Context(), p.page, false); err != nil || res.Cached || res.Binary == "" {
			t.Errorf("after %q Build is %+v, %v", text, res, err)
		}
	}
}

func TestUndoingAnEditIsInstant(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	first := p.good()
	p.write("pages/a/main.go", "package main\n\nfunc main() { println(2) }\n")
	p.good()
	p.write("pages/a/main.go", helloPage)
	if res := p.build(); !res.Cached || res.Binary != first {
		t.Errorf("Build is %+v", res)
	}
}

func TestTheTempFolderIsOnesOwn(t *testing.T) {
	parallel(t)
	base := t.TempDir()
	own := filepath.Join(base, "a", "b")
	if real, err := secureDir(own); err != nil || real != own {
		t.Errorf("a new one: %s, %v", real, err)
	}
	if info, err := os.Stat(own); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("it is %v, %v", info.Mode(), err)
	}
	link := filepath.Join(base, "link")
	os.Symlink(own, link)
	if real, err := secureDir(link); err != nil || real != own {
		t.Errorf("behind a link: %s, %v", real, err)
	}
	file := filepath.Join(base, "file")
	os.WriteFile(file, nil, 0o600)
	for _, c := range []struct {
		dir    string
		change func() error
		want   string
	}{
		{file, func() error { return nil }, "not a directory"},
		{own, func() error { return os.Chmod(own, 0o770) }, "may be written to by others (mode 0770)"},
		{link, func() error { return os.Chmod(own, 0o702) }, "may be written to by others (mode 0702)"},
		{own, func() error { return errors.Join(os.Chmod(own, 0o700), os.Chmod(filepath.Dir(own), 0o777)) }, "which everybody may write to"},
		{own, func() error { return errors.Join(os.Chmod(filepath.Dir(own), 0o700), os.Chown(own, 12345, 12345)) }, "belongs to user 12345"},
		{own, func() error { return errors.Join(os.Chown(own, 0, 0), os.Chown(filepath.Dir(own), 12345, 12345)) }, "which belongs to user 12345"},
	} {
		if err := c.change(); errors.Is(err, os.ErrPermission) {
			t.Log("only root gives folders away")
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := secureDir(c.dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s gives %v, want %q", c.dir, err, c.want)
		}
	}
}

func TestASlugIsSafeInAPath(t *testing.T) {
	for in, want := range map[string]string{
		"pages/index": "pages-index", "../../x": "x", "ünï cödé": "n--c-d", "": "", "/": "",
		strings.Repeat("a", 50) + "/b": strings.Repeat("a", 38) + "-b",
	} {
		if got := slug(in); got != want {
			t.Errorf("slug(%q) is %q, want %q", in, got, want)
		}
	}
}

// Two servers in containers of their own can have the same process id, and the
// same path for different projects.
func TestServersThatShareATempFolderNeverSwapPrograms(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	first, second := p.server(p.opts.TempDir, ""), p.server(p.opts.TempDir, "")
	build := func(b *Builder, says string) string {
		t.Helper()
		p.write("pages/a/main.go", fmt.Sprintf("package main\n\nfunc main() { println(%q) }\n", says))
		res, err := b.Build(t.Context(), p.page, true)
		if err != nil || res.Binary == "" {
			t.Fatalf("%s: %+v, %v", says, res, err)
		}
		return res.Binary
	}
	var other string
	p.write("pages/a/main.go", "package main\n\nfunc main() { println(\"first\") }\n")
	res := p.interrupted(first, func() { other = build(second, "second") }) // the first binary has no name yet
	if !res.Stale {
		t.Error("the first server's binary is taken for what the second has built")
	}
	binary := res.Binary
	if got := p.prints(binary); got != "first" {
		t.Errorf("the first server's page is the program %q", got)
	}
	if got := p.prints(other); got != "second" {
		t.Errorf("the second server's page is the program %q", got)
	}
	p.wantFiles(2)
}

func TestServersThatShareATempFolderKeepEachOthersBinaries(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	first, second := p.server(p.opts.TempDir, ""), p.server(p.opts.TempDir, "")
	build := func(b *Builder, n int) string {
		t.Helper()
		p.write("pages/a/main.go", fmt.Sprintf("package main\n\nfunc main() { println(%d) }\n", n))
		res, err := b.Build(t.Context(), p.page, false)
		if err != nil || res.Binary == "" || res.Stale {
			t.Fatalf("%d: %+v, %v", n, res, err)
		}
		return res.Binary
	}
	first.Track(p.page)
	second.Track(p.page)
	for i := range 4 {
		build(first, i)
		one := build(first, 10)
		two := build(second, 20+i) // knows nothing of what the first has written down since it began
		for n, want := range map[int]string{10: one, 20 + i: two} {
			p.write("pages/a/main.go", fmt.Sprintf("package main\n\nfunc main() { println(%d) }\n", n))
			if res, err := p.again().Build(t.Context(), p.page, false); err != nil || !res.Cached || res.Binary != want {
				t.Errorf("what was built of %d is not found again: %+v, %v", n, res, err)
			}
		}
	}
}

func TestADamagedBinaryIsMadeAgain(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	binary := p.good()
	if p.RemoveDamaged(binary) {
		t.Fatal("a good binary is taken for a damaged one")
	}
	if p.RemoveDamaged(binary + "x") {
		t.Error("a binary that is not there is taken for a damaged one")
	}
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(binary)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for name, damage := range map[string]func() error{
		"zeros": func() error { return os.WriteFile(binary, make([]byte, size()), 0o755) },
		"zeros within": func() error {
			f, err := os.OpenFile(binary, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(make([]byte, 4096), size()/8192*4096)
			return errors.Join(err, f.Close())
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		b := p.again()
		if res, err := b.Build(t.Context(), p.page, false); err != nil || res.Binary != binary || !res.Cached {
			t.Fatalf("%s: the binary is not that of before: %+v, %v", name, res, err)
		}
		if !b.RemoveDamaged(binary) {
			t.Errorf("%s: a damaged binary is taken for a good one", name)
		}
		if res, err := b.Build(t.Context(), p.page, false); err != nil || res.Cached || res.Binary != binary {
			t.Errorf("%s: it is not made again: %+v, %v", name, res, err)
		}
		if got := p.prints(binary); got != "hello" {
			t.Errorf("%s: it prints %q", name, got)
		}
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Build(t.Context(), p.page, true); err != nil {
			t.Fatal(err)
		}
		if got := p.prints(binary); got != "hello" {
			t.Errorf("%s: built anew it prints %q", name, got)
		}
	}
}
