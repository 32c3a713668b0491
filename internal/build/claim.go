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

// Projects share temp_dir. Each has a folder there, whose name is made of the
// project's path, and in it a file that holds this path. A server holds a shared
// lock on the file for as long as it lives, so that another, which sweeps the
// folders of projects that were deleted, sees that this one is in use.

const claimFile = "project.txt"

// claimFolder makes the folder of a project's binaries and says that it is in
// use, until the file that it returns is closed. It returns none if that cannot
// be said: only its age keeps the folder then.
func claimFolder(dir, root string) (*os.File, error) {
	for {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(filepath.Join(dir, claimFile), os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was swept this moment
		}
		if err != nil {
			return nil, nil
		}
		syscall.Flock(int(f.Fd()), syscall.LOCK_SH) // where there are no locks, its age keeps it
		if !isStillNamed(f) {
			f.Close()
			continue
		}
		f.WriteAt([]byte(root+"\n"), 0) // on a full disk what is there is enough, or is no claim
		return f, nil
	}
}

// isStillNamed reports whether a file has the name still under which it was
// opened.
func isStillNamed(f *os.File) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(opened, now)
}

// folderName is the name of a project's folder below temp_dir.
func folderName(root string) string {
	sum := sha256.Sum256([]byte(root))
	return slug(filepath.Base(root)) + "-" + hex.EncodeToString(sum[:5])
}

// sweepProjects removes the folders of projects that are not there any more and
// that no server has used for 24 hours. It returns how many binaries went.
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
		return 0 // it is no project's
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
	gone := b.tempName("swept") // who comes now makes another
	if os.Rename(dir, gone) != nil || os.RemoveAll(gone) != nil {
		return 0
	}
	return removed
}
