package build

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"tqserver/internal/state"
)

// maxAttempts bounds how often a build is repeated that failed for reasons
// outside the program.
const maxAttempts = 4

// compile makes the binary with the go command, hiding the files of editors. It
// repeats the build if the go command complains about another such file, or if
// files are missing from its cache because somebody has emptied that.
func (b *Builder) compile(ctx context.Context, a *attempt) (output, error) {
	hidden, plan := a.job.hidden, a.job.wantPlan
	for attempts, looked := 1, false; ; attempts++ {
		out, err := b.compileWithout(ctx, a, hidden, plan)
		if _, ok := errors.AsType[*exitError](err); !ok || ctx.Err() != nil || attempts == maxAttempts {
			return out, err
		}
		text := out.text()
		blamed, blames := blamedFiles(text, a.dir)
		switch {
		case lostCache(text):
		case blames && !looked:
			hidden, looked = append(blamed, hidden...), true
		default:
			return out, err
		}
		plan = false
		os.Remove(a.tmp)
	}
}

// compileWithout makes the binary with the go command as if the hidden files did
// not exist. If a plan is wanted, it also records the commands that the go command
// runs.
func (b *Builder) compileWithout(ctx context.Context, a *attempt, hidden []string, plan bool) (output, error) {
	args := []string{"build", "-json", "-buildvcs=false", "-ldflags=" + a.env.linkerFlags(), "-o", a.tmp, "."}
	if len(hidden)+len(a.job.stamps) > 0 {
		overlay := b.tempName("overlay")
		defer os.Remove(overlay)
		if err := a.env.overlay(hidden, a.job.stamps, a.dir, overlay); err == nil { // otherwise the go command reports what is wrong with the overlay of GOFLAGS
			args = slices.Insert(args, 1, "-overlay="+overlay)
		}
	}
	if plan {
		out, err := b.run(ctx, a.env, a.dir, slices.Insert(slices.Clone(args), 1, "-x")...)
		if err == nil {
			a.commands = parseCommands(out.stdout.Bytes(), a.dir)
			return out, nil
		}
		if ctx.Err() != nil {
			return out, err
		}
		os.Remove(a.tmp) // the messages are mixed with the commands: build again without these
	}
	return b.run(ctx, a.env, a.dir, args...)
}

// result stores the binary, or says why there is none.
func (b *Builder) result(a *attempt, out output, err error) (Result, error) {
	if err != nil {
		return b.failure(a.dir, out, err)
	}
	a.binary, a.size, err = b.store(a.tmp, a.page.id)
	switch {
	case errors.Is(err, errLibrary):
		return Result{Problems: []state.Problem{notMain(a.dir, b.opts.Root)}}, nil
	case err != nil:
		return Result{}, fmt.Errorf("build %s: %w", b.show(a.dir), err)
	}
	if a.planFailed {
		os.Remove(b.planFile(a.page.id)) // it reads files that no longer exist
	}
	return Result{Binary: filepath.Join(b.dir, a.binary)}, nil
}

// failure returns the problems of the program, or an error if the go command
// could not do its work.
func (b *Builder) failure(dir string, out output, err error) (Result, error) {
	var exit *exitError
	if !errors.As(err, &exit) {
		return Result{}, err
	}
	problems := parseProblems(out.text(), dir, b.opts.Root)
	for _, p := range problems {
		if reason := toolFailure(p); reason != nil {
			return Result{}, fmt.Errorf("build %s: %w", b.show(dir), toolError{p.Message, reason})
		}
	}
	for i, p := range problems {
		problems[i] = withHint(p, dir, b.opts.Root)
	}
	if len(problems) == 0 {
		return Result{}, fmt.Errorf("build %s: %w", b.show(dir), err)
	}
	return Result{Problems: problems}, nil
}

// errLibrary says that what was built is not a program.
var errLibrary = errors.New("not a program")

// archive is how the file begins that the go command makes of a package that is
// not main.
const archive = "!<arch>\n"

// store names a binary after its content, so that the same program is the same
// file and a name never changes its meaning. It replaces a file of that name,
// which may be damaged.
func (b *Builder) store(tmp, id string) (name string, size int64, err error) {
	f, err := os.Open(tmp)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h, head := sha256.New(), bufio.NewReaderSize(f, 1<<16)
	if magic, _ := head.Peek(len(archive)); string(magic) == archive {
		return "", 0, errLibrary
	}
	if size, err = io.Copy(h, head); err != nil {
		return "", 0, err
	}
	name = id + "-" + hex.EncodeToString(h.Sum(nil)[:8])
	final := filepath.Join(b.dir, name)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := os.Rename(tmp, final); err != nil {
		return "", 0, err
	}
	return name, size, nil
}

// tempName returns a name for a file that is still being written. It is random:
// servers in containers may share the folder and have the same process id.
func (b *Builder) tempName(of string) string {
	return filepath.Join(b.dir, of+"."+rand.Text()+".tmp")
}
