package build

import (
	"path/filepath"
	"slices"
)

// RecordRollback remembers, for later servers too, that a binary of the page in dir kept
// ending and another took its place. Until what it is made of changes, or it is
// built by force, its builds say so.
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
