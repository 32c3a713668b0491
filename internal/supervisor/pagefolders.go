package supervisor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tqserver/internal/project"
	"tqserver/internal/router"
	"tqserver/internal/state"
)

// pageFolders are the folders in which pages were found last. Most of what changes
// below the pages directory is data and sources of pages that are known: to look
// for pages each time would cost the more the more there are.
type pageFolders struct {
	pages map[string]bool
	above map[string]bool // those, those that cannot be read, and all above them
}

func pageFoldersOf(found router.Discovery) pageFolders {
	p := pageFolders{pages: make(map[string]bool), above: make(map[string]bool)}
	for _, page := range found.Pages {
		p.pages[page.Dir] = true
	}
	for _, c := range found.Conflicts {
		for _, dir := range c.Dirs {
			p.pages[dir] = true
		}
	}
	for dir := range p.pages {
		p.addAbove(dir)
	}
	for dir := range found.Unreadable {
		p.addAbove(dir)
	}
	return p
}

func (p pageFolders) addAbove(path string) {
	for ; !p.above[path]; path = filepath.Dir(path) {
		p.above[path] = true
	}
}

// mayChangePages reports whether changes can make or unmake a page.
func (s *Supervisor) mayChangePages(paths []string) bool {
	pages := s.cfg.Pages.Directory
	asked := make(map[string]bool) // folders
	for _, path := range paths {
		if s.folders.above[path] || project.Contains(path, pages) {
			return true
		}
		if !project.Contains(pages, path) {
			continue
		}
		dir, isSource := filepath.Dir(path), strings.HasSuffix(path, ".go")
		if isSource && !asked[dir] {
			asked[dir] = true
			page, err := router.IsPage(pages, dir, s.build.Constraints())
			if err != nil || page != s.folders.pages[dir] {
				return true
			}
		}
		if !isSource && isUnreadableDir(path) {
			return true // what is in it cannot be told, which is said
		}
	}
	return false
}

// isUnreadablePage reports whether a path is a folder of pages that may not be read any
// more. What runs of it goes on, and nothing can be built.
func (s *Supervisor) isUnreadablePage(path string) bool {
	return s.folders.above[path] && isUnreadableDir(path)
}

// isUnreadableDir reports whether a path is a folder that may not be read.
func isUnreadableDir(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	dir, err := os.Open(path)
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	dir.Close()
	return false
}

// checkRoot reports whether the project's folder is not there. It was renamed,
// or another release of it comes in a moment: what runs goes on, as nobody has
// removed a page. It is said once, if the folder stays away.
func (s *Supervisor) checkRoot() bool {
	_, err := os.Stat(s.root)
	missing, now := errors.Is(err, fs.ErrNotExist), time.Now()
	switch {
	case !missing:
		if s.rootMissing {
			s.publishEvent(state.LevelInfo, "the project's folder is back", state.String("dir", s.root))
		}
		s.rootMissing, s.rootMissingAt = false, time.Time{}
	case s.rootMissingAt.IsZero():
		s.rootMissingAt = now.Add(s.cfg.FileWatcher.Debounce)
		s.removalTimer.Reset(s.cfg.FileWatcher.Debounce)
	case s.rootMissing:
	case now.Before(s.rootMissingAt):
		s.removalTimer.Reset(s.rootMissingAt.Sub(now))
	default:
		s.rootMissing = true
		s.publishEvent(state.LevelWarn, "the project's folder is gone: pages keep serving as they are until it is back", state.String("dir", s.root))
	}
	return missing
}

// folderID tells one folder from another that has its path later. The zero value
// is none.
type folderID struct{ device, inode uint64 }

func folderIDOf(dir string) folderID {
	info, err := os.Stat(dir)
	if err != nil {
		return folderID{}
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return folderID{}
	}
	return folderID{uint64(stat.Dev), uint64(stat.Ino)}
}
