package supervisor

import (
	"time"

	"tqserver/internal/state"
)

const mebibyte = 1 << 20

// memoryInterval is how often it is looked what memory a worker takes that may take
// only so much.
const memoryInterval = 500 * time.Millisecond

// checkMemory has a worker replaced that takes more memory than it may, and looks
// again later. Should the limit be too low for the page, so that workers exceed it
// whether anybody asks them for something or not, the pauses between its
// replacements grow.
func (p *page) checkMemory() {
	p.memoryTimer.Stop()
	w, limit := p.serving, p.cfg.worker.MaxMemory
	if w == nil || limit == 0 {
		return
	}
	p.memoryTimer.Reset(memoryInterval)
	if !p.canReplace() || time.Since(w.readyAt) < pauseBefore(p.overMemory) {
		return
	}
	u, err := p.usage(w.pid)
	switch {
	case err != nil:
		return // it has just ended, or this system does not tell
	case u.Memory <= limit:
		if time.Since(w.readyAt) >= resetAfter || p.entry.Traffic().Requests > w.requestsBefore {
			p.overMemory = 0
		}
		return
	}
	p.overMemory++
	p.publishEvent(state.LevelWarn, "the worker uses more memory than max_memory: starting a replacement",
		state.Int("pid", w.pid), state.Int("mib", u.Memory/mebibyte), state.Int("max_mib", limit/mebibyte))
	p.replace(maxMemory, w.version)
}
