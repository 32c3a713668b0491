package supervisor

import (
	"os"
	"path/filepath"

	"tqserver/internal/build"
)

// newBuilder returns a Builder. The default folder is one for all users, of whom
// the first to come makes it: if it is the default and cannot be used, a folder
// below the user's cache takes its place, and instead says why.
func newBuilder(opts build.Options, isDefault bool) (b *build.Builder, instead error, err error) {
	b, err = build.New(opts)
	if err == nil || !isDefault {
		return b, nil, err
	}
	cache, unknown := os.UserCacheDir()
	if unknown != nil {
		return nil, nil, err
	}
	opts.TempDir = filepath.Join(cache, "tqserver", "bin")
	b, worse := build.New(opts)
	if worse != nil {
		return nil, nil, err
	}
	return b, err, nil
}
