package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAFolderOfBinariesThatIsGoneIsMadeAgain(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	binary := p.good()
	for _, gone := range []string{p.dir, p.opts.TempDir} {
		name := filepath.Base(gone)
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
		if removed, err := p.Sweep(); removed != 0 || err != nil {
			t.Errorf("%s: Sweep is %d, %v", name, removed, err)
		}
		if res := p.build(); res.Cached || res.Binary != binary || p.prints(binary) != "hello" {
			t.Errorf("%s: Build is %+v", name, res)
		}
		if info, err := os.Stat(gone); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		if res := p.build(); !res.Cached {
			t.Errorf("%s: it was not written down what was built", name)
		}
	}
}

// The go command makes all folders that its own work folder lies in.
func TestAFolderThatAGoCommandMadeAgainIsTheUsersAlone(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	p.good()
	for _, gone := range []string{p.dir, p.opts.TempDir} {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(p.dir, "work", "go-build", "b001"), 0o755); err != nil {
			t.Fatal(err)
		}
		if res := p.build(); res.Cached || p.prints(res.Binary) != "hello" {
			t.Errorf("Build is %+v", res)
		}
		for _, path := range []string{gone, p.dir} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v, %v", path, info, err)
			}
		}
	}
}

func TestAFolderOfBinariesIsMadeAgainOnlyWhereItMayBe(t *testing.T) {
	parallel(t)
	for name, test := range map[string]struct {
		spoil func(temp string) error
		want  string
	}{
		"others may write above it": {func(temp string) error {
			return os.Chmod(filepath.Dir(temp), 0o777)
		}, "which everybody may write to"},
		"others may write to it": {func(temp string) error {
			if err := os.Mkdir(temp, 0o777); err != nil {
				return err
			}
			return os.Chmod(temp, 0o777)
		}, "may be written to by others"},
		"it leads elsewhere": {func(temp string) error {
			other := filepath.Join(filepath.Dir(temp), "other")
			if err := os.Mkdir(other, 0o700); err != nil {
				return err
			}
			return os.Symlink(other, temp)
		}, "leads to"},
	} {
		p := newProject(t, nil)
		parent := filepath.Join(t.TempDir(), "parent")
		os.Mkdir(parent, 0o700)
		temp := filepath.Join(parent, "bin")
		b := p.server(temp, "")
		if err := os.RemoveAll(temp); err != nil {
			t.Fatal(err)
		}
		if err := test.spoil(temp); err != nil {
			t.Fatal(err)
		}
		if res, err := b.Build(t.Context(), p.page, false); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Build is %+v, %v", name, res, err)
		}
	}
}

func TestWhatIsInUseIsKeptYoung(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	binary := p.good()
	id := p.pages[p.page].id
	running := filepath.Join(p.dir, "running")
	if err := os.WriteFile(running, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	p.Keep(p.page, running)
	used := []string{binary, running, p.entriesFile(id)}
	for _, path := range used {
		p.age(path, 9*24*time.Hour)
	}
	if _, err := p.Sweep(); err != nil {
		t.Fatal(err)
	}
	for _, path := range used {
		if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) > time.Hour {
			t.Errorf("%s: %v, %v", filepath.Base(path), info, err)
		}
	}
}

func TestAProjectThatWasRenamedIsNotMadeAgain(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	p.Builder = p.server(filepath.Join(p.root, "tmp/bin"), "")
	p.good()
	away := p.root + ".away"
	if err := os.Rename(p.root, away); err != nil {
		t.Fatal(err)
	}
	defer os.Rename(away, p.root)
	if res, err := p.Builder.Build(t.Context(), p.page, false); err == nil {
		t.Errorf("a page that is not there is built: %+v", res)
	}
	if _, err := os.Lstat(p.root); err == nil {
		t.Error("the project's folder is made again under its old name")
	}
}
