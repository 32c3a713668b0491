package build

import (
	"path/filepath"
	"slices"
)

// RecordRollback records, also for later servers, that a binary of the page in dir
// kept crashing and that another replaced it. Results of builds that give the binary
// again say so, until its inputs change or it is built by force.
func (b *Builder) RecordRollback(dir, bad, good string) error {
	bad, good = filepath.Base(bad), filepath.Base(good)
	b.mu.Lock()
	p := b.pages[dir]
	if p == nil {
		b.mu.Unlock()
		return nil
	}
	entries := slices.Clone(p.entries)
	for i := range entries {
		if entries[i].Binary == bad {
			entries[i].RolledBackTo = good
		}
	}
	p.entries = entries
	b.mu.Unlock()
	return b.writeEntries(p.id, entries, nil)
}
