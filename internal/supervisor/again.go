package supervisor

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"time"
)

// What keeps a version from starting and is not its fault: its binary is gone, or
// the system has no means for a process at the moment. Both are tried again, with
// pauses that grow.

// lacksBinary has the page built again whose binary is gone: cleaners of temporary
// files remove what was not used for long. If there is none then either, for it
// cannot be built, who asks for the page is told at once.
func (p *page) lacksBinary(a *startAttempt) {
	p.missing++
	pause := pauseBefore(p.missing)
	attrs := []slog.Attr{slog.Int("build", a.build), slog.String("file", a.binary)}
	rebuild := func(again bool) {
		p.redo = a.reason
		p.build(change{at: time.Now(), again: again}, false)
	}
	if pause == 0 {
		p.tell(slog.LevelWarn, "the binary was deleted: the page is built again", attrs...)
		rebuild(false)
		return
	}
	p.planIn(pause, func() { rebuild(true) })
	if p.serving == nil {
		p.entry.Refuse(brokenPage)
	}
	p.tell(slog.LevelWarn, "the binary was deleted: the page is built again", append(attrs, slog.Duration("retry", pause))...)
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
	p.failed = fmt.Sprintf("build %d cannot be started now: %v", a.build, err)
	if p.serving == nil {
		p.entry.Refuse(keepsEnding(p.next))
	}
	p.tell(slog.LevelWarn, "the worker cannot be started now: it is tried again",
		slog.Int("build", a.build), slog.String("reason", string(a.reason)), slog.String("err", err.Error()), slog.Duration("retry", pause))
}
