package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"tqserver/internal/tools/trial"
)

const (
	rounds = 5
	settle = 5 * time.Second // until a server has nothing to do
)

// manyPages makes a project of n pages, half of which import one package if
// shared is set.
func (b *bench) manyPages(name string, n int, shared bool, extra string) (*project, []string, error) {
	p, err := b.newProject(name, extra)
	if err != nil {
		return nil, nil, err
	}
	var paths []string
	for i := range n {
		paths = append(paths, fmt.Sprintf("/page%d", i))
	}
	if shared {
		if err := p.editShared("0"); err != nil {
			return nil, nil, err
		}
	}
	return p, paths, p.editAll(paths, "0", shared)
}

func (p *project) editAll(paths []string, edit string, shared bool) error {
	for i, path := range paths {
		text := pageText(edit)
		if shared && i%2 == 0 {
			text = pageText(edit, "trial/shared")
		}
		if err := p.Write("pages"+path+"/main.go", text); err != nil {
			return err
		}
	}
	return nil
}

func (p *project) editShared(edit string) error {
	return p.Write("shared/shared.go", "package shared\n\nconst Text = \"("+edit+")\"\n")
}

// startAll returns how long it takes from the server's start until all pages
// respond. Each of adjust may change how it is run.
func (p *project) startAll(ctx context.Context, paths []string, text string, adjust ...func(*exec.Cmd)) (time.Duration, error) {
	began := time.Now()
	if err := p.Start(ctx, adjust...); err != nil {
		return 0, err
	}
	err := p.AwaitAll(ctx, paths, text)
	return time.Since(began), err
}

// twenty is a project of 20 pages that the server runs, and the same pages as the
// go command builds them.
type twenty struct {
	served, built *project
	paths         []string
}

// compile returns how long the go command takes.
func (t *twenty) compile(ctx context.Context, packages ...string) (time.Duration, error) {
	began := time.Now()
	err := run(ctx, t.built.Dir, "go", append([]string{"build", flags, "-o", "out/"}, packages...)...)
	return time.Since(began), err
}

// pages measures bars 3, 4, 5, and the memory of idle servers (bar 10).
func (b *bench) pages(ctx context.Context) error {
	var t twenty
	var err error
	if t.served, t.paths, err = b.manyPages("twenty", 20, true, ""); err != nil {
		return err
	}
	defer t.served.Stop()
	if t.built, _, err = b.manyPages("twentybuilt", 20, true, ""); err != nil {
		return err
	}
	if err := b.changedPages(ctx, &t); err != nil {
		return err
	}
	took, err := t.served.startUnchanged(ctx, t.paths, "<")
	if err != nil {
		return err
	}
	b.add(within(4, "20 pages unchanged since a run that came to rest, from start until all respond", took, 600*time.Millisecond))
	if err := b.sharedPackage(ctx, &t); err != nil {
		return err
	}
	t.served.Stop()
	for _, n := range []int{1, 100} {
		if err := b.idlePages(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// changedPages measures bar 3: starts after every page has changed.
func (b *bench) changedPages(ctx context.Context, t *twenty) error {
	var started, compiled []time.Duration
	for i := range rounds { // the first round compiles what they import
		text := fmt.Sprint(i + 1)
		if err := t.served.editAll(t.paths, text, true); err != nil {
			return err
		}
		took, err := t.served.startAll(ctx, t.paths, "<"+text+">")
		if err != nil {
			return err
		}
		if err := t.served.AwaitRest(ctx); err != nil {
			return err
		}
		t.served.Stop()
		if err := t.built.editAll(t.paths, text, true); err != nil {
			return err
		}
		other, err := t.compile(ctx, "./pages/...")
		if err != nil {
			return err
		}
		if i > 0 {
			started, compiled = append(started, took), append(compiled, other)
		}
	}
	b.add(noSlower(3, "20 pages, each changed, from start until all respond", "one `go build`", median(started[1:]), median(compiled[1:]), 1.25))
	b.add(noSlower(3, "the same, when they were built only once before", "one `go build`", started[0], compiled[0], 1.25))
	return nil
}

// startUnchanged returns how long a start takes when nothing has changed since a
// run that came to rest.
func (p *project) startUnchanged(ctx context.Context, paths []string, text string) (time.Duration, error) {
	p.Stop()
	if _, err := p.startAll(ctx, paths, text); err != nil {
		return 0, err
	}
	if err := p.AwaitRest(ctx); err != nil {
		return 0, err
	}
	var all []time.Duration
	for range rounds {
		p.Stop()
		took, err := p.startAll(ctx, paths, text)
		if err != nil {
			return 0, err
		}
		all = append(all, took)
	}
	return median(all), nil
}

// sharedPackage measures bar 5: a save of a package that half of the pages import.
func (b *bench) sharedPackage(ctx context.Context, t *twenty) error {
	var half, packages []string
	for i := 0; i < len(t.paths); i += 2 {
		half = append(half, t.paths[i])
		packages = append(packages, "./pages"+t.paths[i])
	}
	var saved, compiled []time.Duration
	for i := range rounds {
		text := fmt.Sprintf("shared%d", i)
		if err := trial.Pause(ctx, time.Second); err != nil {
			return err
		}
		began := time.Now()
		if err := t.served.editShared(text); err != nil {
			return err
		}
		if err := t.served.AwaitAll(ctx, half, text); err != nil {
			return err
		}
		took := time.Since(began)
		if err := t.built.editShared(text); err != nil {
			return err
		}
		other, err := t.compile(ctx, packages...)
		if err != nil {
			return err
		}
		if i > 0 {
			saved, compiled = append(saved, took), append(compiled, other)
		}
	}
	b.add(noSlower(5, "a package that 10 of 20 pages import is saved, until all ten respond", "one `go build` of the ten", median(saved), median(compiled), 1.25))
	return nil
}

// idlePages measures the start of n unchanged pages, 100 for bar 4, and the memory
// of the idle server (bar 10).
func (b *bench) idlePages(ctx context.Context, n int) error {
	p, paths, err := b.manyPages(fmt.Sprintf("idle%d", n), n, false, "")
	if err != nil {
		return err
	}
	defer p.Stop()
	took, err := p.startUnchanged(ctx, paths, "<")
	if err != nil {
		return err
	}
	if n == 100 {
		b.add(within(4, "100 such pages, from start until all respond", took, 2500*time.Millisecond))
	}
	if err := trial.Pause(ctx, settle); err != nil {
		return err
	}
	memory, err := p.Memory("VmRSS")
	if err != nil {
		return err
	}
	work := map[int]string{1: "memory of the server, idle, 1 page", 100: "the same with 100 pages"}[n]
	b.add(atMost(10, work, memory, "MiB", map[int]float64{1: 25, 100: 40}[n]))
	return nil
}

// within returns the result of a time with a limit.
func within(bar int, work string, got, limit time.Duration) result {
	return result{Bar: bar, Work: work, Value: rounded(got), Bound: "≤ " + rounded(limit), Reached: got <= limit}
}
