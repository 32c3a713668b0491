package build

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAGroupIsTheUsersOwnIfNobodyElseIsInIt(t *testing.T) {
	dir := t.TempDir()
	passwd, group := filepath.Join(dir, "passwd"), filepath.Join(dir, "group")
	for file, text := range map[string]string{
		passwd: "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:100::/home/bob:/bin/sh\ncarol:x:1002:100::/home/carol:/bin/sh\ndave:x:1003:1003::/home/dave:/bin/sh\n\nhalf:x\n",
		group:  "root:x:0:\nusers:x:100:\nalice:x:1000:alice\ndave:x:1003:dave,alice\nstaff:x:50:\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		uid, gid int
		want     bool
	}{
		{0, 0, true},
		{1000, 1000, true},
		{1001, 100, false},   // Carol's too
		{1003, 1003, false},  // Alice is a member
		{1000, 50, true},     // nobody else is in it
		{7000, 7000, true},   // unknown to the files, as in a container
		{7000, 8000, false},  // a directory's, of which nothing is known
		{7000, 100, false},   // Bob's and Carol's
		{1000, 0, false},     // root's
		{65534, 65534, true}, // nobody
	} {
		if got := isAloneInGroup(c.uid, c.gid, passwd, group); got != c.want {
			t.Errorf("user %d in group %d: %v", c.uid, c.gid, got)
		}
	}
	if !isAloneInGroup(1000, 1000, filepath.Join(dir, "none"), filepath.Join(dir, "none")) {
		t.Error("without the files a user's own number is not the user's")
	}
}

func TestAFolderThatAnotherGroupMayRenameIsRefused(t *testing.T) {
	parallel(t)
	if os.Getuid() != 0 {
		t.Skip("only root gives folders to groups")
	}
	base := t.TempDir()
	parent := filepath.Join(base, "group")
	dir := filepath.Join(parent, "deep", "bin")
	if _, err := secureDir(dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode os.FileMode
		gid  int
		want string
	}{
		{0o775, 12345, "which the group 12345 may write to: chmod g-w it"},
		{0o755, 12345, ""},
		{0o775 | os.ModeSticky, 12345, ""},
		{0o777, 12345, "which everybody may write to"},
		{0o700, 0, ""},
	} {
		if err := errors.Join(os.Chown(parent, 0, c.gid), os.Chmod(parent, c.mode)); err != nil {
			t.Fatal(err)
		}
		_, err := secureDir(dir)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("mode %v, group %d: %v, want %q", c.mode, c.gid, err, c.want)
		}
	}
}

func TestAFolderThatOthersGetToWriteToLaterIsRefusedThen(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	parent := filepath.Join(t.TempDir(), "parent")
	p.Builder = p.server(filepath.Join(parent, "bin"), "")
	p.good()
	for _, path := range []string{parent, filepath.Join(parent, "bin")} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := p.CheckFolder(); err == nil {
			t.Errorf("%s may be written to by everybody, and binaries would be run", path)
		}
		if res, err := p.Build(t.Context(), p.page, false); err == nil {
			t.Errorf("%s may be written to by everybody, and Build is %+v", path, res)
		}
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.CheckFolder(); err != nil {
		t.Errorf("it is one's own again: %v", err)
	}
	aside := parent + ".aside"
	if err := errors.Join(os.Rename(parent, aside), os.Symlink(aside, parent)); err != nil {
		t.Fatal(err)
	}
	if err := p.CheckFolder(); err == nil {
		t.Error("the way to the folder became a link, and binaries would be run")
	}
}

func TestBinariesOfProjectsThatWereDeletedAreSwept(t *testing.T) {
	parallel(t)
	p := newProject(t, nil)
	deleted := openProject(t, filepath.Join(t.TempDir(), "deleted"), nil)
	deleted.Builder = deleted.server(p.opts.TempDir, "")
	deleted.good()
	folder := func(b *Builder, age time.Duration) {
		t.Helper()
		files, err := os.ReadDir(b.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			p.age(filepath.Join(b.dir, f.Name()), age)
		}
	}
	want := func(there bool, why string) {
		t.Helper()
		removed, err := p.Sweep()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(deleted.dir); (err == nil) != there {
			t.Errorf("%s: the folder is there: %v", why, err == nil)
		}
		if gone := removed > 0; gone == there {
			t.Errorf("%s: %d binaries are reported as removed", why, removed)
		}
		p.wantFiles(0)
	}
	folder(deleted.Builder, 25*time.Hour)
	want(true, "the project is there")
	if err := os.RemoveAll(deleted.root); err != nil {
		t.Fatal(err)
	}
	want(true, "a server of it runs, perhaps where it has this path")
	deleted.Close()
	folder(deleted.Builder, time.Hour)
	want(true, "it was used an hour ago")
	folder(deleted.Builder, 25*time.Hour)
	foreign := filepath.Join(p.temp, "foreign")
	if err := errors.Join(os.Mkdir(foreign, 0o700), os.WriteFile(filepath.Join(foreign, claimFile), []byte(deleted.root), 0o600)); err != nil {
		t.Fatal(err)
	}
	p.age(filepath.Join(foreign, claimFile), 25*time.Hour)
	want(false, "nothing keeps it")
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a folder of another name went: %v", err)
	}
}

func TestAFolderThatIsSweptWhileAServerStartsIsMadeAgain(t *testing.T) {
	parallel(t)
	temp := t.TempDir()
	sweeper := openProject(t, filepath.Join(t.TempDir(), "sweeper"), nil)
	sweeper.Builder = sweeper.server(temp, "")
	root := filepath.Join(t.TempDir(), "gone")
	dir := filepath.Join(temp, folderName(root))
	for range 50 {
		claim, err := claimFolder(dir, root)
		if err != nil {
			t.Fatal(err)
		}
		claim.Close()
		sweeper.age(filepath.Join(dir, claimFile), 25*time.Hour)
		swept := make(chan struct{})
		go func() { // ends with the sweep
			defer close(swept)
			sweeper.Sweep()
		}()
		if claim, err = claimFolder(dir, root); err != nil {
			t.Fatal(err)
		}
		<-swept
		if !isStillNamed(claim) {
			t.Fatal("the server has claimed a folder that is not there")
		}
		claim.Close()
	}
}
