package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tqserver/internal/build"
	"tqserver/internal/project"
)

// changes are paths that have changed and are not handled yet.
type changes struct {
	paths []string
	all   bool
	at    time.Time // of the first
}

// Changed says that paths on disk have changed, nil for any. It never waits.
func (s *Supervisor) Changed(paths []string) {
	s.mu.Lock()
	if s.pending.at.IsZero() {
		s.pending.at = time.Now()
	}
	s.pending.all = s.pending.all || paths == nil
	s.pending.paths = append(s.pending.paths, paths...)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// dispatch passes changes on to the pages that they concern.
func (s *Supervisor) dispatch(ctx context.Context) {
	s.mu.Lock()
	saved := s.pending
	s.pending = changes{}
	s.mu.Unlock()
	if saved.at.IsZero() {
		return
	}
	if s.paused.Load() {
		s.missedSaves.Store(true)
		return
	}
	paths := saved.paths
	if saved.all {
		paths = nil
	}
	affected := s.build.Affected(slices.DeleteFunc(slices.Clone(paths), s.isUnreadablePage))
	for folder, file := range affected {
		if p := s.byFolder[folder]; p != nil {
			p.notifyChange(change{file: file, at: saved.at})
		}
	}
	if s.development() {
		s.dispatchAssets(saved, affected)
	}
	if saved.all || s.mayChangePages(paths) {
		s.discover(ctx)
	}
}

// dispatchAssets passes changes of files that need no build on to the pages that may
// show them: to the page in whose folder a file lies, and to all pages if it lies in a
// common folder.
func (s *Supervisor) dispatchAssets(saved changes, building map[string]string) {
	if saved.all {
		for _, p := range s.pages {
			p.send(assetsChanged{})
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
			p.send(assetsChanged{files})
		}
	}
}

// commonDir returns the common folder that a path lies in, or nothing.
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

// nearest returns the page in whose folder a path lies, or nil.
func (s *Supervisor) nearest(path string) *pageActor {
	for dir := filepath.Dir(path); dir != s.cfg.Pages.Directory && project.Contains(s.cfg.Pages.Directory, dir); dir = filepath.Dir(dir) {
		if p := s.byFolder[dir]; p != nil {
			return p
		}
	}
	return nil
}

// isLasting reports whether a path below dir is a file that is meant to stay: neither
// a hidden file nor one that editors write for themselves.
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
