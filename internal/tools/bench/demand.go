package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"tqserver/internal/tools/trial"
)

// demand measures bar 11, and how start and memory grow with the pages.
func (b *bench) demand(ctx context.Context) error {
	begin := chart{name: "pages-start", title: "Start on demand, all binaries built, until one page responds", x: "pages", y: "ms"}
	idle := chart{name: "pages-memory", title: "Memory of the idle server, pages asleep", x: "pages", y: "MiB"}
	var starts, sizes curve
	starts.name, sizes.name = "tqserver", "tqserver"
	p, all, err := b.manyPages("demand", 1, false, "  start: on_demand\n")
	if err != nil {
		return err
	}
	defer p.Stop()
	for _, n := range []int{1, 10, 100, 1000} {
		for len(all) < n {
			path := fmt.Sprintf("/page%d", len(all))
			if err := p.Write("pages"+path+"/main.go", pageText("0")); err != nil {
				return err
			}
			all = append(all, path)
		}
		if err := p.Start(ctx); err != nil {
			return err
		}
		if err := p.AwaitRest(ctx); err != nil {
			return err
		}
		p.Stop()
		took, err := p.startAll(ctx, all[n-1:], "<0>")
		if err != nil {
			return err
		}
		if err := trial.Pause(ctx, settle); err != nil {
			return err
		}
		memory, err := p.Memory("VmRSS")
		if err != nil {
			return err
		}
		starts.points = append(starts.points, [2]float64{float64(n), float64(took) / 1e6})
		sizes.points = append(sizes.points, [2]float64{float64(n), memory})
		if n < 1000 {
			p.Stop()
		}
	}
	begin.curves, idle.curves = []curve{starts}, []curve{sizes}
	b.charts = append(b.charts, begin, idle)

	binaries, err := p.binaries()
	if err != nil {
		return err
	}
	var first, own []time.Duration
	for i := range 40 {
		began := time.Now()
		if err := trial.Await(ctx, p.URL+all[i*20], "<0>"); err != nil {
			return err
		}
		first = append(first, time.Since(began))
		alone, err := b.startAlone(ctx, binaries[i*20])
		if err != nil {
			return err
		}
		own = append(own, alone)
	}
	r := within(11, "1 000 pages, on demand: what the first response of a sleeping page takes longer than a worker's own start", median(first)-median(own), 30*time.Millisecond)
	r.Measured = fmt.Sprintf("%s, a worker alone %s", rounded(median(first)), rounded(median(own)))
	b.add(r)
	r = within(11, "the same, the slowest of 40", quantile(first, 1)-median(own), 30*time.Millisecond)
	r.Measured = rounded(quantile(first, 1))
	b.add(r)
	return nil
}

// binaries returns the programs that the server has built.
func (p *project) binaries() (all []string, err error) {
	files, err := filepath.Glob(filepath.Join(p.Dir, "bin", "*", "*"))
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o100 != 0 {
			all = append(all, file)
		}
	}
	return all, err
}

// startAlone returns how long a worker takes until it responds, with nothing but
// this program beside it.
func (b *bench) startAlone(ctx context.Context, binary string) (time.Duration, error) {
	port, err := trial.FreePorts(1)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, binary)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), fmt.Sprintf("TQ_PORT=%d", port), "GOMAXPROCS=1")
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGKILL)
	err = trial.Await(ctx, fmt.Sprintf("http://127.0.0.1:%d/", port), "<0>")
	return time.Since(began), err
}
