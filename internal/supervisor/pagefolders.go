package supervisor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tqserver/internal/project"
	"tqserver/internal/router"
)

// pageFolders are the folders of the pages that were found last. Most changes below the
// pages directory are of data and of sources of known pages. If each of them led to a
// search for pages, saves would cost more the more pages there are.
type pageFolders struct {
	pages map[string]bool
	above map[string]bool // folders of pages, unreadable folders, and all folders above these
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

// mayChangePages reports whether changes of paths may add or remove a page.
func (s *Supervisor) mayChangePages(paths []string) bool {
	pages := s.cfg.Pages.Directory
	checked := make(map[string]bool) // folders
	for _, path := range paths {
		if s.folders.above[path] || project.Contains(path, pages) {
			return true
		}
		if !project.Contains(pages, path) {
			continue
		}
		dir, isSource := filepath.Dir(path), strings.HasSuffix(path, ".go")
		if isSource && !checked[dir] {
			checked[dir] = true
			page, err := router.IsPage(pages, dir, s.build.Constraints())
			if err != nil || page != s.folders.pages[dir] {
				return true
			}
		}
		if !isSource && isUnreadableDir(path) {
			return true // it may hold pages; discover publishes that it is unreadable
		}
	}
	return false
}

// isUnreadablePage reports whether a path is a folder of pages that cannot be read any
// more. Its workers keep running, and nothing is built.
func (s *Supervisor) isUnreadablePage(path string) bool {
	return s.folders.above[path] && isUnreadableDir(path)
}

// isUnreadableDir reports whether a path is a folder that this user may not read.
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
