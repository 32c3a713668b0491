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
