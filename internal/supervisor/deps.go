package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"

	"tqserver/internal/build"
	"tqserver/internal/config"
	"tqserver/internal/process"
	"tqserver/internal/state"
)

// deps is what the actors share.
type deps struct {
	root        string
	store       *state.Store
	builder     builder
	ports       *ports
	dev         atomic.Bool
	paused      atomic.Bool // saves build nothing
	missedSaves atomic.Bool // there were some while paused
	openLog     func(name config.LogFile, page string) Log

	prioritize func(dir string) // lets the build of a folder go before others
	spawn      func(process.Spec) (c child, pid int, err error)
	probe      func(ctx context.Context, port int) error
	usage      func(pid int) (process.Usage, error)
	ownsPort   func(pid, port int) bool
	portTaken  func(port int) bool
}

// builder is what actors need of a [build.Builder].
type builder interface {
	Build(ctx context.Context, dir string, force bool) (build.Result, error)
	Optimize(ctx context.Context, dir string) (stale bool, err error)
	Keep(dir string, binaries ...string)
	RecordRollback(dir, bad, good string) error
	RemoveDamaged(binary string) bool
}

func (h *deps) development() bool { return h.dev.Load() }

// newBuilder returns a Builder. The default folder is shared by all users and belongs
// to the first of them. So if the default is set and cannot be used, newBuilder uses a
// folder below the user's cache folder, and instead says why.
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
