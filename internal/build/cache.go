package build

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	keptEntries = 4 // a page: the newest, and those that an undo may ask for
	keptFor     = 24 * time.Hour
)

// entry says that a binary is what the go command makes of some content.
type entry struct {
	Inputs    inputs
	Content   string // fingerprint of the inputs
	Flavour   string // fingerprint of flags and environment
	Toolchain string // which go command
	Binary    string // file name
	Size      int64
}

// lookup returns the entry whose content is on disk now.
func (b *Builder) lookup(entries []entry) (entry, bool) {
	if len(entries) == 0 {
		return entry{}, false
	}
	flavour, tools := b.flavour(), toolchain()
	var seen inputs
	var content string
	for _, e := range entries {
		if e.Flavour != flavour || tools != "" && e.Toolchain != tools {
			continue
		}
		if info, err := os.Lstat(filepath.Join(b.dir, e.Binary)); err != nil || !info.Mode().IsRegular() || info.Size() != e.Size {
			continue
		}
		if content == "" || !seen.equal(e.Inputs) {
			seen, content = e.Inputs, e.Inputs.snapshot().fingerprint()
		}
		if content == e.Content {
			return e, true
		}
	}
	return entry{}, false
}

func (in inputs) equal(other inputs) bool {
	return slices.Equal(in.Dirs, other.Dirs) && slices.Equal(in.Files, other.Files) &&
		slices.EqualFunc(in.Embeds, other.Embeds, func(a, b embed) bool {
			return a.Dir == b.Dir && slices.Equal(a.Patterns, b.Patterns)
		})
}

// flavour is one name for all that decides how the go command builds, but for
// which go command it is.
func (b *Builder) flavour() string {
	h := sha256.New()
	b.mu.Lock()
	fmt.Fprintf(h, "%q\n", b.opts.LDFlags)
	for _, key := range slices.Sorted(maps.Keys(b.opts.Env)) {
		fmt.Fprintf(h, "%q=%q\n", key, b.opts.Env[key])
	}
	b.mu.Unlock()
	env := os.Environ()
	slices.Sort(env)
	for _, kv := range env {
		if strings.HasPrefix(kv, "GO") || strings.HasPrefix(kv, "CGO_") || strings.HasPrefix(kv, "CC=") || strings.HasPrefix(kv, "CXX=") {
			fmt.Fprintf(h, "%q\n", kv)
		}
	}
	if dir, err := os.UserConfigDir(); err == nil {
		settings, _ := os.ReadFile(filepath.Join(dir, "go", "env")) // go env -w
		h.Write(settings)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// toolchain names the go command in PATH without running it; empty if there is
// none.
func toolchain() string {
	path, err := exec.LookPath("go")
	if err != nil {
		return ""
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano())
}

func (b *Builder) entriesFile(id string) string { return filepath.Join(b.dir, id+".json") }

// readEntries reads what is written of a page. What cannot be read is as good
// as nothing: the page is built.
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

func (b *Builder) writeEntries(id string, entries []entry) error {
	text, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	tmp := b.entriesFile(id) + ".tmp"
	if err = os.WriteFile(tmp, text, 0o600); err == nil {
		err = os.Rename(tmp, b.entriesFile(id))
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("remember a build: %w", err)
	}
	return nil
}

// Sweep removes what nothing uses and was not used for 24 hours, and returns
// how many binaries went. It leaves the binaries named to Keep and the two
// newest of each page that was built or looked up.
func (b *Builder) Sweep() (removed int, err error) {
	files, err := os.ReadDir(b.dir)
	if err != nil {
		return 0, fmt.Errorf("sweep old binaries: %w", err)
	}
	keep := make(map[string]bool)
	b.mu.Lock()
	for _, p := range b.pages {
		maps.Copy(keep, p.keep)
		keep[p.id+".json"] = true
		for _, e := range p.entries[:min(2, len(p.entries))] {
			keep[e.Binary] = true
		}
	}
	b.mu.Unlock()
	for _, f := range files {
		info, err := f.Info()
		if err != nil || keep[f.Name()] || time.Since(info.ModTime()) < keptFor {
			continue
		}
		err = os.RemoveAll(filepath.Join(b.dir, f.Name()))
		if err == nil && f.Type().IsRegular() && filepath.Ext(f.Name()) == "" {
			removed++
		}
	}
	return removed, nil
}
