package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// makeFolder makes the folder of the project's binaries below tempDir, and returns
// its path.
func makeFolder(tempDir, root string) (string, error) {
	temp, err := secureDir(tempDir)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(root))
	dir := filepath.Join(temp, slug(filepath.Base(root))+"-"+hex.EncodeToString(sum[:5]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder of the project's binaries: %w", err)
	}
	return dir, nil
}

// keepFolder makes the folder again if it is gone, as cleaners of temporary files
// remove what was not used for long. What was required of it at start still is.
func (b *Builder) keepFolder() error {
	if _, err := os.Lstat(b.dir); err == nil {
		return nil
	}
	dir, err := makeFolder(b.opts.TempDir, b.opts.Root)
	if err == nil && dir != b.dir {
		err = fmt.Errorf("workers.temp_dir: %s leads to %s now, and not to %s as when the server started", b.opts.TempDir, filepath.Dir(dir), filepath.Dir(b.dir))
	}
	return err
}
