package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"syscall"
	"time"
)

// What keeps a version from starting and is not its fault: its binary is gone, or
// the system has no means for a process at the moment. Both are tried again, with
// pauses that grow.

var errDamaged = errors.New("the binary is damaged")

// judge says that a start failed because the binary is damaged, if it is.
func (p *page) judge(binary string, err error) error {
	for _, other := range []error{errAbandoned, errPortTaken, fs.ErrNotExist} {
		if errors.Is(err, other) {
			return err
		}
	}
	if scarce(err) || !p.builder.RemoveDamaged(binary) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// inspect looks whether the worker that served ended because its binary is
// damaged. The next start finds none then.
func (p *page) inspect(v version) {
	p.aside(func() func() {
		damaged := p.builder.RemoveDamaged(v.binary)
		return func() {
			if damaged {
				p.tell(slog.LevelWarn, "removed a damaged binary: the page will be rebuilt when its worker exits", slog.Int("build", v.build), slog.String("file", v.binary))
			}
		}
	})
}

// lacksBinary has the page built again whose binary is gone, or was damaged and is
// gone now: cleaners of temporary files remove what was not used for long. If there is none then either, for it
// cannot be built, who asks for the page is told at once.
func (p *page) lacksBinary(a *startAttempt, err error) {
	what := "the binary was deleted: rebuilding the page"
	if errors.Is(err, errDamaged) {
		what = "the binary is damaged: rebuilding the page"
	}
	p.missing++
	pause := pauseBefore(p.missing)
	attrs := []slog.Attr{slog.Int("build", a.build), slog.String("file", a.binary)}
	rebuild := func(again bool) {
		p.redo = a.reason
		p.build(change{at: time.Now(), again: again}, false)
	}
	if pause == 0 {
		p.tell(slog.LevelWarn, what, attrs...)
		rebuild(false)
		return
	}
	p.rebuild.Stop() // of a build that could not be made: one is enough
	p.planIn(pause, func() { rebuild(true) })
	if p.serving == nil {
		p.entry.Refuse(brokenPage)
	}
	p.tell(slog.LevelWarn, what, append(attrs, slog.Duration("retry", pause))...)
}

// scarcities are what the system says that has no means for a process now.
var scarcities = []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM}

// scarce reports whether an error is the system's want of means, which passes and
// says nothing of a program.
func scarce(err error) bool {
	return slices.ContainsFunc(scarcities, func(want error) bool { return errors.Is(err, want) })
}

// postpone tries a start again for which the system had no means.
func (p *page) postpone(a *startAttempt, err error) {
	p.scarce++
	pause := max(time.Second, pauseBefore(p.scarce))
	p.planIn(pause, func() { p.start(a) })
	p.failed = fmt.Sprintf("cannot start build %d now: %v", a.build, err)
	if p.serving == nil {
		p.entry.Refuse(keepsEnding(p.next))
	}
	p.tell(slog.LevelWarn, "cannot start the worker now: trying again",
		slog.Int("build", a.build), slog.String("reason", string(a.reason)), slog.String("err", err.Error()), slog.Duration("retry", pause))
}
