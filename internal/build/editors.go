package build

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tqserver/internal/project"
)

// IsEditorFile reports whether a name is that of a file which editors or the
// desktop create beside the files that people save: locks, swap files, backups and
// temporary files. Changes of such files mean nothing.
func IsEditorFile(name string) bool {
	switch name {
	case "4913", ".DS_Store", "Thumbs.db", "desktop.ini": // the first is vim's, to see whether it may write
		return true
	}
	ext := filepath.Ext(name)
	for _, prefix := range []string{
		".#",            // locks of emacs and others
		".~lock.", "~$", // of offices
		".goutputstream", // gedit
		".subl",          // Sublime Text
		".nfs", ".fuse_hidden", "._",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch {
	case strings.HasSuffix(name, "~"), // of many
		len(name) > 1 && name[0] == '#' && strings.HasSuffix(name, "#"), // emacs
		strings.Contains(name, "___jb_"),                                // JetBrains
		strings.HasSuffix(name, ".kate-swp"),                            // Kate
		name[0] == '.' && strings.Contains(name, ".kak."),               // Kakoune
		ext == ".swp", name[0] == '.' && (len(ext) == 4 || len(ext) == 5 && ext[4] == 'x') && ext[:3] == ".sw": // vim, nano
		return true
	}
	return false
}

// editorFiles returns the files of editors that the patterns take. The go
// command would embed them, or refuse to.
func (in inputs) editorFiles() (files []string) {
	for _, e := range in.Embeds {
		fs.WalkDir(os.DirFS(e.Dir), ".", func(rel string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || rel == ".":
			case d.IsDir():
				if takes, leads := e.match(rel); !takes && !leads {
					return fs.SkipDir
				}
			case IsEditorFile(d.Name()) && !slices.Contains(e.Patterns, rel):
				files = append(files, filepath.Join(e.Dir, filepath.FromSlash(rel)))
			}
			return nil
		})
	}
	return files
}

// blamedFiles returns the files of editors in the folders of those that the go
// command complains about, and whether it complains about any.
func blamedFiles(text, dir string) (files []string, any bool) {
	for line := range strings.Lines(text) {
		if !slices.ContainsFunc(strings.Fields(line), func(word string) bool {
			name := filepath.Base(strings.Trim(word, `"':,`))
			return len(name) > 1 && IsEditorFile(name)
		}) {
			continue
		}
		any = true
		at := dir
		if m := location.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			at = project.Abs(dir, filepath.Dir(m[1]))
		}
		filepath.WalkDir(at, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && IsEditorFile(d.Name()) {
				files = append(files, path)
			}
			return nil
		})
	}
	return files, any
}

// overlay writes an overlay for the go command, on top of the one that GOFLAGS
// names, which hides some files and adds others.
func (e environment) overlay(hidden []string, stamps map[string]string, dir, overlay string) error {
	var over struct{ Replace map[string]string }
	abs := func(file string) string {
		if file == "" {
			return "" // it is to be hidden
		}
		return project.Abs(dir, file)
	}
	if own := e.flags()["overlay"]; own != "" {
		text, err := readRegular(abs(own))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &over); err != nil {
			return err
		}
	}
	replace := make(map[string]string)
	for from, to := range over.Replace {
		replace[abs(from)] = abs(to)
	}
	for _, file := range hidden {
		replace[file] = ""
	}
	maps.Copy(replace, stamps)
	over.Replace = replace
	text, err := json.Marshal(over)
	if err != nil {
		return err
	}
	return os.WriteFile(overlay, text, 0o600)
}
