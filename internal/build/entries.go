package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	maxEntries = 4 // a page: the newest, and some that an undo may need
	keepFor    = 24 * time.Hour
)

// entry records what a binary was made from.
type entry struct {
	Inputs       inputs
	Shape        string // while it stays the same, so do the inputs
	Content      string // fingerprint of the inputs
	Settings     string // fingerprint of flags and environment
	Toolchain    string // which go command
	Binary       string // file name
	Size         int64
	RolledBackTo string // the binary that replaced it because it kept crashing
}

// reuse returns a binary that was made from what is on disk now. Before it reads
// inputs it watches them, and meanwhile they count as inputs of the page.
func (b *Builder) reuse(p *page, flavour, tools string, r *snapshotCache) (e entry, ok bool) {
	b.mu.Lock()
	entries := p.entries
	p.candidates = slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return !b.isUsable(e, flavour, tools) })
	looking := p.candidates
	b.indexLocked(p)
	b.mu.Unlock()
	b.watch(p)
	i := slices.IndexFunc(looking, func(e entry) bool { return r.snapshot(e.Inputs).fingerprint() == e.Content })
	defer b.watch(p) // fewer files again
	b.mu.Lock()
	defer b.mu.Unlock()
	p.candidates = nil
	defer b.indexLocked(p)
	if i < 0 || !b.touchLocked(looking[i].Binary) {
		return entry{}, false
	}
	p.attempt, p.inputs, p.shape, p.inputsUnknown, p.broken = nil, looking[i].Inputs, looking[i].Shape, false, false
	return looking[i], true
}

// isUsable reports whether a binary exists and was built with the same settings
// and toolchain.
func (b *Builder) isUsable(e entry, flavour, tools string) bool {
	if e.Settings != flavour || tools != "" && e.Toolchain != tools {
		return false
	}
	info, err := os.Lstat(filepath.Join(b.dir, e.Binary))
	return err == nil && info.Mode().IsRegular() && info.Size() == e.Size
}

// touchLocked sets the time of a binary, so that Sweep leaves it, and reports
// whether it exists.
func (b *Builder) touchLocked(name string) bool {
	now := time.Now()
	return os.Chtimes(filepath.Join(b.dir, name), now, now) == nil
}

// RemoveDamaged removes a binary whose content does not fit its name, as after a
// power failure, so that the next build makes it again. It reports whether it has.
func (b *Builder) RemoveDamaged(binary string) bool {
	made, err := digest(binary)
	named := binary[strings.LastIndexByte(binary, '-')+1:]
	if err != nil || strings.HasPrefix(made, named) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return os.Remove(binary) == nil
}

func (b *Builder) entriesFile(id string) string { return filepath.Join(b.dir, id+".json") }

// readEntries reads what is recorded of a page. If that cannot be read, there is
// nothing, and the page is built.
func (b *Builder) readEntries(id string) []entry {
	text, err := os.ReadFile(b.entriesFile(id))
	if err != nil {
		return nil
	}
	var entries []entry
	if json.Unmarshal(text, &entries) != nil {
		return nil
	}
	return slices.DeleteFunc(entries, func(e entry) bool { return !filepath.IsLocal(e.Binary) || len(e.Inputs.Dirs) == 0 })
}

// writeEntries records a page's entries in place of those before. It keeps what
// another server has recorded of a page at the same path: servers in containers
// may share the folder.
func (b *Builder) writeEntries(id string, entries, before []entry) error {
	known := append(slices.Clone(entries), before...)
	others := slices.DeleteFunc(b.readEntries(id), func(e entry) bool {
		return slices.ContainsFunc(known, func(k entry) bool { return k.Binary == e.Binary })
	})
	all := append(slices.Clone(entries), others...)
	text, err := json.Marshal(all[:min(len(all), 2*maxEntries)])
	if err != nil {
		return err
	}
	return b.writeWhole(b.entriesFile(id), text)
}

// writeWhole writes a file, whole or not at all.
func (b *Builder) writeWhole(file string, text []byte) error {
	f, err := os.CreateTemp(b.dir, filepath.Base(file)+".*.tmp")
	if err != nil {
		return fmt.Errorf("record a build: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("record a build: %w", err)
	}
	return nil
}

// Sweep removes what was not used for 24 hours, including the folders of projects
// that are gone, and returns how many binaries it removed. It leaves the binaries
// that Keep names and the two newest of each known page.
func (b *Builder) Sweep() (removed int, err error) {
	files, err := os.ReadDir(b.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil // the next build makes it again
	case err != nil:
		return 0, fmt.Errorf("sweep old binaries: %w", err)
	}
	keep := map[string]bool{claimFile: true}
	b.mu.Lock()
	for _, p := range b.pages {
		maps.Copy(keep, p.keep)
		keep[p.id+".json"], keep[p.id+".plan.json"] = true, true
		for _, e := range p.entries[:min(2, len(p.entries))] {
			keep[e.Binary], keep[e.RolledBackTo] = true, true
		}
	}
	b.mu.Unlock()
	b.touch(keep)
	for _, f := range files {
		if !keep[f.Name()] && b.sweepFile(f.Name()) && f.Type().IsRegular() && filepath.Ext(f.Name()) == "" {
			removed++
		}
	}
	return removed + b.sweepProjects(), nil
}

// touch sets the times of files: cleaners of temporary files remove what was not
// used for days, even if it is being executed.
func (b *Builder) touch(names map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name := range names {
		b.touchLocked(name)
	}
}

// sweepFile removes a file that was not used for long. It holds the lock, so that
// no build decides to use the file meanwhile.
func (b *Builder) sweepFile(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	path := filepath.Join(b.dir, name)
	info, err := os.Lstat(path)
	return err == nil && time.Since(info.ModTime()) >= keepFor && os.RemoveAll(path) == nil
}
