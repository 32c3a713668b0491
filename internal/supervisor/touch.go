package supervisor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tqserver/internal/build"
	"tqserver/internal/proxy"
)

// newest is what is to be known of a version newer than the one that serves.
func (p *page) newest() proxy.Newer {
	coming := p.coming()
	switch {
	case p.building != nil, coming != nil && p.serving != nil && coming.version != p.serving.version:
		return proxy.NewerPending
	case p.failed != "":
		return proxy.NewerBroken
	}
	return proxy.NoNewer
}

// leastQuiet is how long files must be quiet at least before they count.
const leastQuiet = 10 * time.Millisecond

// touch notes that files changed which need no build, nil for any. They count
// when they are quiet and no newer version is on its way, which counts for both:
// files of one save need not come in any order.
func (p *page) touch(files []string) {
	if p.closing {
		return
	}
	if files == nil {
		files = []string{""}
	}
	p.touched = append(p.touched, files...)
	p.touching.Reset(max(p.cfg.debounce, leastQuiet))
}

// showTouched tells of touched files, or tries again later.
func (p *page) showTouched() {
	switch {
	case p.building != nil, p.coming() != nil:
		p.touching.Reset(max(p.cfg.debounce, leastQuiet))
	case p.takeTouched():
		p.publish()
	}
}

// takeTouched has touched files count, and reports whether there were any.
func (p *page) takeTouched() bool {
	if len(p.touched) == 0 {
		return false
	}
	p.touching.Stop()
	p.assets++
	p.assetFiles = nil
	if !slices.Contains(p.touched, "") {
		for _, file := range p.touched {
			p.assetFiles = append(p.assetFiles, p.show(file))
		}
		slices.Sort(p.assetFiles)
		p.assetFiles = slices.Compact(p.assetFiles)
	}
	p.touched = nil
	return true
}

// touch tells pages of changed files that are theirs and need no build: those
// in their folders, unless another page's is nearer, and those that any page may
// show.
func (s *Supervisor) touch(saved changes, building map[string]string) {
	if saved.all {
		for _, p := range s.pages {
			p.ask(func() { p.touch(nil) })
		}
		return
	}
	var common []string
	own := make(map[*running][]string)
	for _, path := range saved.paths {
		info, err := os.Stat(path)
		switch dir := s.commonDir(path); {
		case err == nil && info.IsDir():
		case dir != "":
			if lasting(dir, path) {
				common = append(common, path)
			}
		default:
			if p := s.nearest(path); p != nil && lasting(p.folder, path) && filepath.Ext(path) != ".go" && building[p.folder] != path {
				own[p] = append(own[p], path)
			}
		}
	}
	for _, p := range s.pages {
		if files := append(own[p], common...); len(files) > 0 {
			p.ask(func() { p.touch(files) })
		}
	}
}

// commonDir returns the folder of files for any page that a path lies in, or
// nothing.
func (s *Supervisor) commonDir(path string) string {
	for _, dir := range s.cfg.CommonFiles() {
		if path == dir {
			return filepath.Dir(dir)
		}
		if strings.HasPrefix(path, dir+string(filepath.Separator)) {
			return dir
		}
	}
	return ""
}

// nearest returns the page in whose folder a path lies.
func (s *Supervisor) nearest(path string) *running {
	for dir := filepath.Dir(path); dir != s.cfg.Pages.Directory && below(dir, s.cfg.Pages.Directory); dir = filepath.Dir(dir) {
		if p := s.byFolder[dir]; p != nil {
			return p
		}
	}
	return nil
}

// lasting reports whether a path below dir is of a file that is meant to stay:
// no dot-file, nor what editors write besides.
func lasting(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return false
	}
	for part := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		if part[0] == '.' {
			return false
		}
	}
	return !build.IsEditorFile(filepath.Base(path))
}
