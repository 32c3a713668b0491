package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// cold measures bars 3 and 4 for pages that were never built before.
func (b *bench) cold(ctx context.Context) error {
	served, paths, err := b.manyPages("cold", 20, true, "")
	if err != nil {
		return err
	}
	defer served.Stop()
	built, _, err := b.manyPages("coldbuilt", 20, true, "")
	if err != nil {
		return err
	}
	if err := run(ctx, built.Dir, "go", "build", flags, "-o", "out/", "./pages/..."); err != nil { // to compile what they import
		return err
	}
	var started, compiled, again, without []time.Duration
	for i := range rounds {
		text := fmt.Sprintf("cold%d", i)
		for _, p := range []*project{served, built} {
			if err := p.editAll(paths, text, true); err != nil {
				return err
			}
		}
		for _, dir := range []string{filepath.Join(served.Dir, "bin"), filepath.Join(built.Dir, "out")} {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
		began := time.Now()
		if err := run(ctx, built.Dir, "go", "build", flags, "-o", "out/", "./pages/..."); err != nil {
			return err
		}
		compiled = append(compiled, time.Since(began))
		took, err := served.startAll(ctx, paths, "<"+text+">")
		if err != nil {
			return err
		}
		started = append(started, took)
		if i%2 == 0 {
			served.Stop()
		} else {
			served.Signal(syscall.SIGKILL)
			if _, err := served.Ended(ctx); err != nil {
				return err
			}
		}
		if took, err = served.startAll(ctx, paths, "<"+text+">"); err != nil {
			return err
		}
		again = append(again, took)
		served.Stop()
		noGo := func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), "PATH="+filepath.Join(served.Dir, "none")) }
		if took, err = served.startAll(ctx, paths, "<"+text+">", noGo); err != nil {
			return err
		}
		without = append(without, took)
		served.Stop()
	}
	b.add(noSlower(3, "20 pages never built before, from start until all respond", "one `go build`", median(started), median(compiled), 1.2))
	b.add(within(4, "these stopped as soon as all had responded, started again, until all respond", median(again), 600*time.Millisecond))
	b.add(within(4, "the same without a `go` command in PATH", median(without), 600*time.Millisecond))
	return nil
}
