package build

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Projects share temp_dir. Each has a folder there, named after the project's path,
// with a file that contains this path. A server holds a shared lock on the file
// while it runs, so that other servers, which remove the folders of deleted
// projects, see that this one is in use.

const claimFile = "project.txt"

// claimFolder makes the folder of a project's binaries and claims it until the
// returned file is closed. It returns no file if that is not possible: then only
// the age of its files protects the folder.
func claimFolder(dir, root string) (*os.File, error) {
	for {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(filepath.Join(dir, claimFile), os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another server has just removed it
		}
		if err != nil {
			return nil, nil
		}
		syscall.Flock(int(f.Fd()), syscall.LOCK_SH) // without locks, the age of its files protects the folder
		if !isStillNamed(f) {
			f.Close()
			continue
		}
		f.WriteAt([]byte(root+"\n"), 0) // on a full disk the path is already there, or the folder is not claimed
		return f, nil
	}
}

// isStillNamed reports whether a file still has the name under which it was opened.
func isStillNamed(f *os.File) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(opened, now)
}

// folderName returns the name of a project's folder below temp_dir.
func folderName(root string) string {
	sum := sha256.Sum256([]byte(root))
	return slug(filepath.Base(root)) + "-" + hex.EncodeToString(sum[:5])
}

// sweepProjects removes the folders of projects that no longer exist and that no
// server has used for 24 hours. It returns how many binaries it removed.
func (b *Builder) sweepProjects() (removed int) {
	dirs, err := os.ReadDir(b.temp)
	if err != nil {
		return 0
	}
	for _, d := range dirs {
		if dir := filepath.Join(b.temp, d.Name()); d.IsDir() && dir != b.dir {
			removed += b.sweepProject(dir)
		}
	}
	return removed
}

func (b *Builder) sweepProject(dir string) (removed int) {
	f, err := os.OpenFile(filepath.Join(dir, claimFile), os.O_RDWR, 0)
	if err != nil {
		return 0 // no folder of a project
	}
	defer f.Close()
	text, err := readRegular(f.Name())
	root := strings.TrimSuffix(string(text), "\n")
	if err != nil || folderName(root) != filepath.Base(dir) {
		return 0
	}
	if _, err := os.Stat(root); !errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !isStillNamed(f) {
		return 0
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil || time.Since(info.ModTime()) < keepFor {
			return 0
		}
		if info.Mode().IsRegular() && filepath.Ext(file.Name()) == "" {
			removed++
		}
	}
	gone := b.tempName("swept") // a server that starts now makes another folder
	if os.Rename(dir, gone) != nil || os.RemoveAll(gone) != nil {
		return 0
	}
	return removed
}
