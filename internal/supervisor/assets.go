package supervisor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tqserver/internal/build"
	"tqserver/internal/project"
	"tqserver/internal/proxy"
)

// newestStatus is what is to be known of a version newer than the one that serves.
func (p *page) newestStatus() proxy.Newer {
	coming := p.pendingStart()
	switch {
	case p.building != nil, coming != nil && p.serving != nil && coming.version != p.serving.version:
		return proxy.NewerPending
	case p.failure != "":
		return proxy.NewerBroken
	}
	return proxy.NoNewer
}

// minAssetDelay is how long files must be quiet at least before they count.
const minAssetDelay = 10 * time.Millisecond

// assetsChanged notes that files changed which need no build, nil for any. They count
// when they are quiet and no newer version is on its way, which counts for both:
// files of one save need not come in any order.
func (p *page) assetsChanged(files []string) {
	if p.closing {
		return
	}
	if files == nil {
		files = []string{""}
	}
	p.changedAssets = append(p.changedAssets, files...)
	p.assetTimer.Reset(max(p.cfg.debounce, minAssetDelay))
}

// publishAssets tells of touched files, or tries again later.
func (p *page) publishAssets() {
	switch {
	case p.building != nil, p.pendingStart() != nil:
		p.assetTimer.Reset(max(p.cfg.debounce, minAssetDelay))
	case p.applyAssets():
		p.publish()
	}
}

// applyAssets has touched files count, and reports whether there were any.
func (p *page) applyAssets() bool {
	if len(p.changedAssets) == 0 {
		return false
	}
	p.assetTimer.Stop()
	p.assetChanges++
	p.assetFiles = nil
	if !slices.Contains(p.changedAssets, "") {
		for _, file := range p.changedAssets {
			p.assetFiles = append(p.assetFiles, p.show(file))
		}
		slices.Sort(p.assetFiles)
		p.assetFiles = slices.Compact(p.assetFiles)
	}
	p.changedAssets = nil
	return true
}

// dispatchAssets tells pages of changed files that are theirs and need no build: those
// in their folders, unless another page's is nearer, and those that any page may
// show.
func (s *Supervisor) dispatchAssets(saved changes, building map[string]string) {
	if saved.all {
		for _, p := range s.pages {
			p.call(func() { p.assetsChanged(nil) })
		}
		return
	}
	var common []string
	own := make(map[*pageActor][]string)
	for _, path := range saved.paths {
		info, err := os.Stat(path)
		switch dir := s.commonDir(path); {
		case err == nil && info.IsDir():
		case dir != "":
			if isLasting(dir, path) {
				common = append(common, path)
			}
		default:
			if p := s.nearest(path); p != nil && isLasting(p.folder, path) && filepath.Ext(path) != ".go" && building[p.folder] != path {
				own[p] = append(own[p], path)
			}
		}
	}
	for _, p := range s.pages {
		if files := append(own[p], common...); len(files) > 0 {
			p.call(func() { p.assetsChanged(files) })
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
		if project.Contains(dir, path) {
			return dir
		}
	}
	return ""
}

// nearest returns the page in whose folder a path lies.
func (s *Supervisor) nearest(path string) *pageActor {
	for dir := filepath.Dir(path); dir != s.cfg.Pages.Directory && project.Contains(s.cfg.Pages.Directory, dir); dir = filepath.Dir(dir) {
		if p := s.byFolder[dir]; p != nil {
			return p
		}
	}
	return nil
}

// isLasting reports whether a path below dir is of a file that is meant to stay:
// no dot-file, nor what editors write besides.
func isLasting(dir, path string) bool {
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
