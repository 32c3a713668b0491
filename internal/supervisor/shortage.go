package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"tqserver/internal/state"
)

// What keeps a version from starting and is not its fault: its binary is gone, or
// the system has no means for a process at the moment. Both are tried again, with
// pauses that grow.

var errDamaged = errors.New("the binary is damaged")

// checkStartErr says that a start failed because the binary is damaged, if it is.
func (p *page) checkStartErr(binary string, err error) error {
	for _, other := range []error{errAbandoned, errPortTaken, fs.ErrNotExist} {
		if errors.Is(err, other) {
			return err
		}
	}
	if isShortage(err) || !p.builder.RemoveDamaged(binary) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// checkBinary looks whether the worker that served ended because its binary is
// damaged. The next start finds none then.
func (p *page) checkBinary(v version) {
	p.background(func() func() {
		damaged := p.builder.RemoveDamaged(v.binary)
		return func() {
			if damaged {
				p.publishEvent(state.LevelWarn, "removed a damaged binary: the page will be rebuilt when its worker exits", state.Int("build", v.build), state.String("file", v.binary))
			}
		}
	})
}

// rebuildMissing has the page built again whose binary is gone, or was damaged and is
// gone now: cleaners of temporary files remove what was not used for long. If there is none then either, for it
// cannot be built, who asks for the page is told at once.
func (p *page) rebuildMissing(a *startAttempt, err error) {
	what := "the binary was deleted: rebuilding the page"
	if errors.Is(err, errDamaged) {
		what = "the binary is damaged: rebuilding the page"
	}
	p.missingBinaries++
	pause := pauseBefore(p.missingBinaries)
	attrs := []state.Attr{state.Int("build", a.build), state.String("file", a.binary)}
	rebuild := func(again bool) {
		p.retryReason = a.reason
		p.startBuild(change{at: time.Now(), retry: again}, false)
	}
	if pause == 0 {
		p.publishEvent(state.LevelWarn, what, attrs...)
		rebuild(false)
		return
	}
	p.buildTimer.Stop() // of a build that could not be made: one is enough
	p.retryAfter(pause, func() { rebuild(true) })
	if p.serving == nil {
		p.entry.Refuse(brokenPage)
	}
	p.publishEvent(state.LevelWarn, what, append(attrs, state.Duration("retry", pause))...)
}

// shortageErrors are what the system says that has no means for a process now.
var shortageErrors = []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM}

// isShortage reports whether an error is the system's want of means, which passes and
// says nothing of a program.
func isShortage(err error) bool {
	return slices.ContainsFunc(shortageErrors, func(want error) bool { return errors.Is(err, want) })
}

// retryStart tries a start again for which the system had no means.
func (p *page) retryStart(a *startAttempt, err error) {
	p.shortages++
	pause := max(time.Second, pauseBefore(p.shortages))
	p.retryAfter(pause, func() { p.start(a) })
	p.failure = fmt.Sprintf("cannot start build %d now: %v", a.build, err)
	if p.serving == nil {
		p.entry.Refuse(keepsCrashing(p.nextStart))
	}
	p.publishEvent(state.LevelWarn, "cannot start the worker now: trying again",
		state.Int("build", a.build), state.String("reason", string(a.reason)), state.String("err", err.Error()), state.Duration("retry", pause))
}
