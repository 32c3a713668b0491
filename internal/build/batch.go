package build

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// A batch is one go command that builds several pages. It writes no programs: of
// two pages with the same last element of their paths, as all index pages have, it
// would leave one. Instead it keeps its work folder and prints when a program in
// there is complete (go help build, -work and -x), so that no page waits for
// another. Pages that it does not make are built alone, which shows why and
// depends on none of this.

// batchBuild is the build of a batch.
type batchBuild struct {
	builder   *Builder
	batch     *batch
	env       environment
	moduleDir string // where the go command runs: the folder of the module or workspace

	mu         sync.Mutex // guards all below
	listed     map[string]listing
	printed    *transcript       // of the go command
	pages      map[string]*job   // by import path
	complete   map[string]string // programs to hand over, by import path
	incomplete map[string]string // programs to take when the go command has ended, by import path
	made       bool              // at least one program is complete
	wantPlans  bool              // record the commands of all packages
}

// buildBatch builds the pages of a batch. It returns when the go command has
// ended.
func (b *Builder) buildBatch(ctx context.Context, all *batch) {
	t := &batchBuild{builder: b, batch: all, env: all.jobs[0].env, moduleDir: filepath.Dir(all.jobs[0].module), pages: make(map[string]*job), complete: make(map[string]string), incomplete: make(map[string]string)}
	var unknown []*job
	for _, j := range all.jobs {
		if j.path == "" {
			unknown = append(unknown, j)
		} else {
			t.pages[j.path] = j
		}
	}
	var listing sync.WaitGroup
	if len(unknown) > 0 {
		listing.Go(func() { t.listPages(ctx, unknown) }) // ends with ctx, or by itself
	}
	t.run(ctx, all.jobs)
	listing.Wait()
	if good := t.loadable(); !t.made && len(good) > 0 && ctx.Err() == nil {
		t.run(ctx, good) // the go command builds nothing if one page cannot be loaded
	}
	for _, file := range t.complete { // no page is known for it
		os.Remove(file)
	}
}

// listPages determines the inputs of pages.
func (t *batchBuild) listPages(ctx context.Context, unknown []*job) {
	listed := t.builder.list(ctx, t.env, t.moduleDir, dirsOf(unknown))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listed = listed
	for _, j := range unknown {
		if l := listed[j.dir]; l.err == nil && l.importPath != "" {
			t.pages[l.importPath] = j
		}
	}
	t.deliverLocked()
}

func dirsOf(jobs []*job) (dirs []string) {
	for _, j := range jobs {
		dirs = append(dirs, j.dir)
	}
	return dirs
}

// loadable returns the pages that can be loaded, if others cannot.
func (t *batchBuild) loadable() (good []*job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, j := range t.batch.jobs {
		if l, ok := t.listed[j.dir]; !ok || l.err == nil && !l.incomplete {
			good = append(good, j)
		}
	}
	if len(good) == len(t.batch.jobs) {
		return nil
	}
	return good
}

// run runs the go command for some jobs.
func (t *batchBuild) run(ctx context.Context, jobs []*job) {
	work, err := os.MkdirTemp(t.builder.dir, "work-")
	if err != nil {
		return
	}
	defer os.RemoveAll(work)
	args := []string{"build", "-json", "-x", "-work", "-buildvcs=false", "-ldflags=" + t.env.linkerFlags(), "-o", os.DevNull}
	var hidden []string
	plans := false
	stamps := make(map[string]string)
	for _, j := range jobs {
		plans = plans || j.wantPlan
		hidden = append(hidden, j.hidden...)
		maps.Copy(stamps, j.stamps)
	}
	if len(hidden)+len(stamps) > 0 {
		overlay := filepath.Join(work, "overlay")
		if t.env.overlay(hidden, stamps, t.moduleDir, overlay) != nil {
			return
		}
		args = append(args, "-overlay="+overlay)
	}
	cmd, err := t.builder.command(ctx, t.env, t.moduleDir, work, append(args, folderArgs(t.moduleDir, dirsOf(jobs))...)...)
	if err != nil {
		return
	}
	t.mu.Lock()
	t.printed, t.wantPlans = newTranscript(t.moduleDir), plans
	t.mu.Unlock()
	cmd.Stdout = &lineWriter{each: t.handleLine}
	t.builder.runGroup(cmd)
	t.mu.Lock()
	defer t.mu.Unlock()
	for path, file := range t.incomplete {
		t.takeLocked(path, file, os.Rename)
	}
	clear(t.incomplete)
	t.deliverLocked()
}

// handleLine takes a line that the go command prints.
func (t *batchBuild) handleLine(line []byte) {
	var event struct{ ImportPath, Action, Output string }
	if json.Unmarshal(line, &event) != nil || event.Action != "build-output" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if event.ImportPath == "" || t.wantPlans {
		t.printed.add(event.ImportPath, event.Output)
	}
	// The go command looks for a program's build ID when the program is complete.
	looked, ok := strings.CutPrefix(event.Output, "go tool buildid -w ")
	args, err := t.printed.split(looked)
	if !ok || err != nil || len(args) == 0 || filepath.Base(filepath.Dir(args[0])) != "exe" {
		return
	}
	t.made = true
	if strings.HasPrefix(t.env.linkerFlags(), "-buildid=") && t.takeLocked(event.ImportPath, args[0], os.Link) == nil {
		t.deliverLocked()
	} else {
		t.incomplete[event.ImportPath] = args[0] // the ID is still to be written, or there are no hard links here
	}
}

// takeLocked moves or links a program out of the go command's folder.
func (t *batchBuild) takeLocked(path, file string, take func(from, to string) error) error {
	to := t.builder.tempName("made")
	if err := take(file, to); err != nil {
		return err
	}
	t.complete[path] = to
	return nil
}

// deliverLocked delivers the complete programs whose pages are known.
func (t *batchBuild) deliverLocked() {
	for path, file := range t.complete {
		if j := t.pages[path]; j != nil {
			m := made{file: file}
			if l, ok := t.listed[j.dir]; ok {
				m.listed = &l
			}
			if j.wantPlan {
				m.commands = t.printed.commands(path)
			}
			t.builder.queue.deliver(t.batch, j, m)
			delete(t.complete, path)
		}
	}
}

// lineWriter passes on what is written to it line by line.
type lineWriter struct {
	each func(line []byte)
	rest []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.each(line)
		l.rest = rest
	}
}
