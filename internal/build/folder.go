package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tqserver/internal/project"
)

// makeFolder makes the folder of the project's binaries below tempDir. It returns
// its path and the claim on it.
func makeFolder(tempDir, root string) (dir string, claim *os.File, err error) {
	temp, err := secureDir(tempDir)
	if err != nil {
		return "", nil, err
	}
	dir = filepath.Join(temp, folderName(root))
	if claim, err = claimFolder(dir, root); err != nil {
		return "", nil, fmt.Errorf("make the folder of the project's binaries: %w", err)
	}
	return dir, claim, nil
}

// statFolder returns the state of temp and dir.
func (b *Builder) statFolder() (folder [2]fs.FileInfo, err error) {
	for i, path := range []string{b.temp, b.dir} {
		if folder[i], err = os.Lstat(path); err != nil {
			return folder, err
		}
	}
	return folder, nil
}

// keepFolder makes the folder again if it is gone: cleaners of temporary files
// remove what was not used for long. It checks the same as at start. A go command
// may have made the folder again meanwhile, with a mode that lets others in.
func (b *Builder) keepFolder() error {
	now, err := b.statFolder()
	b.mu.Lock()
	made := b.folder
	b.mu.Unlock()
	if err == nil && os.SameFile(now[0], made[0]) && os.SameFile(now[1], made[1]) {
		return b.CheckFolder()
	}
	if _, err := os.Stat(b.opts.Root); err != nil && project.Contains(b.opts.Root, b.opts.TempDir) {
		return fmt.Errorf("the project's folder is gone: %w", err) // it was renamed; do not make it again under its old name
	}
	dir, claim, err := makeFolder(b.opts.TempDir, b.opts.Root)
	if err != nil {
		return err
	}
	if dir != b.dir {
		if claim != nil {
			claim.Close()
		}
		return fmt.Errorf("workers.temp_dir: %s now leads to %s, not to %s as when the server started", b.opts.TempDir, filepath.Dir(dir), filepath.Dir(b.dir))
	}
	if now, err = b.statFolder(); err == nil {
		for i, path := range []string{b.temp, b.dir} {
			if !os.SameFile(now[i], made[i]) {
				err = errors.Join(err, os.Chmod(path, 0o700))
			}
		}
	}
	b.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claim, b.folder = claim, now
	return err
}

// Close releases the claim on the folder of binaries.
func (b *Builder) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.claim != nil {
		b.claim.Close()
		b.claim = nil
	}
}
