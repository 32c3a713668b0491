package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"
)

// attempt is one build of a page.
type attempt struct {
	job        *job // nil until the lookup has found no binary
	page       *page
	dir        string
	force      bool
	env        environment
	settings   string
	toolchain  string
	began      time.Time
	plan       *plan    // to run; nil if the go command builds
	known      bool     // the inputs are known, not guessed
	before     snapshot // of the supposed inputs, when the build began
	tests      snapshot // of the test files beside them
	alone      bool     // no batch made the binary
	tmp        string   // path of the binary until it is stored
	planFailed bool     // the plan did not give a binary
	binary     string   // file name; empty if the build failed
	size       int64

	listed   *listing  // nil if go list did not run
	ranPlan  *plan     // nil if the go command built
	commands *commands // of the go command, if a plan can be made of them
	inputs   inputs    // of the binary
	after    snapshot  // of the inputs, when the binary was made
}

func (b *Builder) newAttempt(dir string, force bool) *attempt {
	a := &attempt{page: b.page(dir), dir: dir, force: force, env: b.environment(), began: time.Now()}
	a.settings = a.env.settingsHash()
	return a
}

// finish stores and records what a build made, unless it was cancelled.
func (b *Builder) finish(a *attempt, out output, err error) (Result, error) {
	res, err := b.result(a, out, err)
	res.Took = time.Since(a.began)
	res.Stale, res.InputsErr = b.record(a)
	if a.after != nil && a.binary != "" && (a.commands != nil || a.env.shim) {
		b.mu.Lock()
		a.page.attempt = a
		b.mu.Unlock()
	}
	return res, err
}

// cachedResult returns the result of a build that found its binary.
func (b *Builder) cachedResult(a *attempt, e entry, err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	res := Result{Binary: filepath.Join(b.dir, e.Binary), Cached: true, Took: time.Since(a.began)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.RolledBackTo != "" && b.touchLocked(e.RolledBackTo) {
		res.RolledBackTo = filepath.Join(b.dir, e.RolledBackTo)
	}
	return res, nil
}

// lookup returns a binary that was made earlier from what is on disk now. If there
// is none, it queues the build.
func (b *Builder) lookup(ctx context.Context, a *attempt) (made entry, err error) {
	p := a.page
	b.mu.Lock()
	fresh, first := len(p.entries) == 0, !p.requested
	p.requested, p.attempt = true, nil
	b.mu.Unlock()
	b.queue.expect(a.dir, fresh)
	defer func() { b.queue.lookupEnded(a.dir, a.job) }()
	if err := b.keepFolder(); err != nil {
		return entry{}, fmt.Errorf("build %s: %w", b.show(a.dir), err)
	}
	release, err := b.lookups.acquire(ctx, func() int { return b.queue.priority(a.dir) })
	if err != nil {
		return entry{}, err
	}
	defer release()
	if a.toolchain, err = b.toolchain(ctx, a.env, a.dir); err != nil {
		return entry{}, err
	}
	var r snapshotCache
	if !a.force {
		if e, ok := b.reuse(p, a.settings, a.toolchain, &r); ok {
			return e, nil
		}
	}
	b.mu.Lock()
	in, shape, path := p.inputs, p.shape, p.path
	if p.broken { // it may keep the go command from building other pages of its batch
		path = ""
	}
	b.mu.Unlock()
	known := b.readPlan(p.id)
	fits := known.matches(&r, a.settings, a.toolchain)
	if fits && !a.force {
		a.plan, a.known = known, true
		in = known.Inputs
	} else if a.known = shape != "" && shape == a.shape(in); !a.known {
		in = in.withImports()
	}
	a.before, a.tests = r.snapshot(in), in.tests()
	b.awaitReadable(a.before)
	a.tmp = b.tempName(p.id)
	if err := ctx.Err(); err != nil {
		return entry{}, err
	}
	a.job = newJob(ctx, a.dir, a.env)
	a.job.first, a.job.wantPlan, a.job.hidden = first, (!first || !fresh) && !fits, in.editorFiles()
	if a.job.stamps, err = b.stamps(in, a.before); err != nil {
		return entry{}, err
	}
	if a.job.module = a.env.moduleFile(a.dir); a.job.module != "" && a.plan == nil {
		a.job.key = fmt.Sprintf("%s\n%s\n%s", a.job.module, a.settings, a.toolchain)
	}
	if a.known {
		a.job.path = path
	}
	return entry{}, nil
}

// makeBinary waits until a batch has made the binary, or makes it when it is the
// page's turn.
func (b *Builder) makeBinary(ctx context.Context, a *attempt) (out output, err error) {
	m, alone, err := b.queue.wait(ctx, a.job)
	switch {
	case err != nil:
		return out, err
	case !alone:
		a.listed, a.commands = m.listed, m.commands
		return out, os.Rename(m.file, a.tmp)
	}
	a.alone = true
	if a.plan != nil {
		if b.runCommands(ctx, &a.plan.Commands, a.env, a.tmp) == nil {
			a.ranPlan = a.plan
			return out, nil
		}
		a.planFailed, a.known = true, false
	}
	var listing sync.WaitGroup
	defer listing.Wait()
	if !a.known {
		listing.Go(func() { // ends with ctx, or by itself
			l := b.list(ctx, a.env, a.dir, []string{a.dir})[a.dir]
			a.listed = &l
		})
	}
	return b.compile(ctx, a)
}

// newInputs returns what the binary was built from, given what was known of the
// page before, and the shape of that if it is still known. An error says why the
// inputs cannot be determined.
func (a *attempt) newInputs(known inputs, knownShape string) (in inputs, shape string, err error) {
	switch {
	case a.ranPlan != nil && reflect.DeepEqual(known, a.ranPlan.Inputs):
		return known, knownShape, nil
	case a.ranPlan != nil:
		return a.ranPlan.Inputs, "", nil
	case a.listed == nil:
		return known, knownShape, nil
	case a.listed.err != nil: // all known inputs still count, and so does the go.mod that is wrong
		known.Files = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(known.Files), a.listed.inputs.Files...))))
		return known, "", a.listed.err
	}
	return a.listed.inputs, "", nil
}

// record watches what a build was made from, and writes down what a later start
// needs to find the binary. It reports whether any of it has changed since the
// build began: then the binary is stale, and not recorded.
func (b *Builder) record(a *attempt) (stale bool, inputsErr error) {
	p := a.page
	b.mu.Lock()
	known, knownShape := p.inputs, p.shape
	b.mu.Unlock()
	in, shape, inputsErr := a.newInputs(known, knownShape)
	// Watch before reading: no change in between is missed.
	b.mu.Lock()
	p.inputs, p.shape, p.inputsUnknown, p.broken = in, "", inputsErr != nil, a.binary == ""
	if a.listed != nil {
		p.path = a.listed.importPath
	}
	b.indexLocked(p)
	b.mu.Unlock()
	if !reflect.DeepEqual(in, known) {
		b.watch(p)
	}
	if inputsErr != nil {
		return false, inputsErr
	}
	after := in.snapshotSince(a.before, a.began)
	b.awaitReadable(after)
	if a.changed(in, after) || a.binary == "" && a.testsChanged(in) || in.unstamped(a.job.stamps) {
		return true, nil
	}
	if shape == "" && a.ranPlan == nil {
		shape = a.shape(in)
	}
	a.inputs, a.after = in, after
	e := entry{Inputs: in, Shape: shape, Content: after.fingerprint(), Settings: a.settings, Toolchain: a.toolchain, Binary: a.binary, Size: a.size}
	b.mu.Lock()
	before := p.entries
	p.shape = shape
	if a.binary != "" {
		p.entries = append([]entry{e}, slices.DeleteFunc(slices.Clone(before), func(old entry) bool { return old.Binary == e.Binary })...)
		p.entries = p.entries[:min(len(p.entries), maxEntries)]
	}
	entries := p.entries
	b.mu.Unlock()
	if a.binary == "" {
		return false, nil
	}
	return false, b.writeEntries(p.id, entries, before)
}

// changed reports whether the inputs differ from those when the build began. Of
// files that were not known to be inputs only the time of their last change can
// tell, which counts as exact to a second.
func (a *attempt) changed(in inputs, after snapshot) bool {
	for path, now := range after {
		before, known := a.before[path]
		switch {
		case !known && now.changed.After(a.began.Add(-time.Second)),
			known && before.content != now.content,
			known && now.content != folder && !before.changed.Equal(now.changed): // changed, and changed back
			return true
		}
	}
	for path := range a.before {
		if _, still := after[path]; !still && in.affectedBy(path) {
			return true
		}
	}
	return false
}

// testsChanged reports whether the test files differ from those when the build
// began.
func (a *attempt) testsChanged(in inputs) bool {
	after := in.tests()
	for path, now := range after {
		before, known := a.tests[path]
		if known && !before.changed.Equal(now.changed) || !known && now.changed.After(a.began.Add(-time.Second)) {
			return true
		}
	}
	for path := range a.tests {
		if _, still := after[path]; !still {
			return true
		}
	}
	return false
}
