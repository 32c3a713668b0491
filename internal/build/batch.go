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

// One go command for several pages. It is told to write nothing: of two pages
// with the same last element of their paths, as all index pages are, it would
// leave one program. It keeps its work folder, and says when a program in there
// is complete (go help build, -work and -x), so that no page waits for another.
// What it does not make is built alone: that says why, and depends on none of
// this.

// together is a go command for several pages.
type together struct {
	*Builder
	batch *batch
	how   how
	dir   string // where it runs: of the module or workspace

	mu       sync.Mutex // guards all below
	listed   map[string]listing
	printed  *printed
	pages    map[string]*job   // by import path
	complete map[string]string // programs to hand over, by import path
	late     map[string]string // those that are taken when the go command has ended
	made     bool              // there was one
	plans    bool              // wanted of a page
}

// buildTogether builds what a batch holds, and returns when the go command has
// ended.
func (b *Builder) buildTogether(ctx context.Context, all *batch) {
	t := &together{Builder: b, batch: all, how: all.jobs[0].how, dir: filepath.Dir(all.jobs[0].module), pages: make(map[string]*job), complete: make(map[string]string), late: make(map[string]string)}
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
		listing.Go(func() { t.list(ctx, unknown) }) // ends with ctx, or by itself
	}
	t.build(ctx, all.jobs)
	listing.Wait()
	if good := t.loadable(); !t.made && len(good) > 0 && ctx.Err() == nil {
		t.build(ctx, good) // of which one cannot be loaded the go command builds nothing
	}
	for _, file := range t.complete { // nobody's
		os.Remove(file)
	}
}

// list asks what pages are made of.
func (t *together) list(ctx context.Context, unknown []*job) {
	listed := t.Builder.list(ctx, t.how, t.dir, dirsOf(unknown))
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

// loadable are the pages that the go command did not refuse, if it did others.
func (t *together) loadable() (good []*job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, j := range t.batch.jobs {
		if l, asked := t.listed[j.dir]; !asked || l.err == nil && !l.incomplete {
			good = append(good, j)
		}
	}
	if len(good) == len(t.batch.jobs) {
		return nil
	}
	return good
}

// build runs the go command.
func (t *together) build(ctx context.Context, jobs []*job) {
	work, err := os.MkdirTemp(t.dir, "work-")
	if err != nil {
		return
	}
	defer os.RemoveAll(work)
	args := []string{"build", "-json", "-x", "-work", "-buildvcs=false", "-ldflags=" + t.how.linkerFlags(), "-o", os.DevNull}
	var hidden []string
	plans := false
	stamps := make(map[string]string)
	for _, j := range jobs {
		plans = plans || j.again
		hidden = append(hidden, j.hidden...)
		maps.Copy(stamps, j.stamps)
	}
	if len(hidden)+len(stamps) > 0 {
		overlay := filepath.Join(work, "overlay")
		if t.how.overlay(hidden, stamps, t.dir, overlay) != nil {
			return
		}
		args = append(args, "-overlay="+overlay)
	}
	cmd, err := t.command(ctx, t.how, t.dir, work, append(args, relative(t.dir, dirsOf(jobs))...)...)
	if err != nil {
		return
	}
	t.mu.Lock()
	t.printed, t.plans = newPrinted(t.dir), plans
	t.mu.Unlock()
	cmd.Stdout = &lines{each: t.read}
	t.runGroup(cmd)
	t.mu.Lock()
	defer t.mu.Unlock()
	for path, file := range t.late {
		t.takeLocked(path, file, os.Rename)
	}
	clear(t.late)
	t.deliverLocked()
}

// read reads a line of what the go command says that it does.
func (t *together) read(line []byte) {
	var event struct{ ImportPath, Action, Output string }
	if json.Unmarshal(line, &event) != nil || event.Action != "build-output" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if event.ImportPath == "" || t.plans {
		t.printed.add(event.ImportPath, event.Output)
	}
	// A program's build ID is looked for when it is complete, and not found, as
	// the linker was asked for none.
	said, ok := strings.CutPrefix(event.Output, "go tool buildid -w ")
	args, err := t.printed.words(said)
	if !ok || err != nil || len(args) == 0 || filepath.Base(filepath.Dir(args[0])) != "exe" {
		return
	}
	t.made = true
	if strings.HasPrefix(t.how.linkerFlags(), "-buildid=") && t.takeLocked(event.ImportPath, args[0], os.Link) == nil {
		t.deliverLocked()
	} else {
		t.late[event.ImportPath] = args[0] // it is still written to, or this disk knows no links
	}
}

// takeLocked takes a program out of the go command's folder.
func (t *together) takeLocked(path, file string, take func(from, to string) error) error {
	to := t.tempName("made")
	if err := take(file, to); err != nil {
		return err
	}
	t.complete[path] = to
	return nil
}

// deliverLocked hands over what is complete, once it is known whose it is.
func (t *together) deliverLocked() {
	for path, file := range t.complete {
		if j := t.pages[path]; j != nil {
			m := made{file: file}
			if l, asked := t.listed[j.dir]; asked {
				m.listed = &l
			}
			if j.again {
				m.commands = t.printed.commands(path)
			}
			t.turns.deliver(t.batch, j, m)
			delete(t.complete, path)
		}
	}
}

// lines hands on what is written to it by lines.
type lines struct {
	each func(line []byte)
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
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
