package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"time"

	"tqserver/internal/policy"
	"tqserver/internal/project"
	"tqserver/internal/proxy"
	"tqserver/internal/router"
	"tqserver/internal/state"
)

// discover compares the pages on disk with those that run, and starts, moves and
// removes pages.
func (s *Supervisor) discover(ctx context.Context) {
	if s.checkRoot() {
		return
	}
	found, err := router.Discover(s.cfg.Pages.Directory, s.build.Constraints())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.publishEvent(state.LevelError, "cannot read the pages directory: all pages stay as they are", state.String("err", err.Error()))
		return
	}
	wanted := make(map[string]string)
	for _, p := range found.Pages {
		wanted[p.Route] = p.Dir
	}
	s.folders = pageFoldersOf(found)
	s.setUnreadable(found.Unreadable)
	changed := s.setConflicts(found.Conflicts)
	now := time.Now()
	for route, p := range s.pages {
		dir, ok := wanted[route]
		_, contested := s.conflicts[route]
		switch {
		case ok && dir == p.folder, contested, s.inUnreadable(p.folder):
			delete(s.removeAt, route)
		case ok:
			delete(s.removeAt, route)
			s.build.Forget(p.folder)
			s.build.Track(dir)
			p.folder = dir
			cfg := s.settingsOf(route, dir)
			p.send(moved{dir, cfg})
			changed = true
		case s.removeAt[route].IsZero():
			s.removeAt[route] = now.Add(s.cfg.FileWatcher.Debounce)
		case !now.Before(s.removeAt[route]):
			s.removePage(route)
			changed = true
		}
	}
	for route, dir := range wanted {
		if s.pages[route] == nil {
			s.build.Expect(dir)
		}
	}
	for route, dir := range wanted {
		if s.pages[route] == nil {
			s.addPage(ctx, route, dir)
			changed = true
		}
	}
	if changed {
		s.updateRoutes()
	}
	s.planRemoval(now)
}

// planRemoval sets the timer for the next page that is to be removed.
func (s *Supervisor) planRemoval(now time.Time) {
	s.removalTimer.Stop()
	var next time.Time
	for _, at := range s.removeAt {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if !next.IsZero() {
		s.removalTimer.Reset(next.Sub(now))
	}
}

// setUnreadable sets which folders cannot be read, and publishes new ones.
func (s *Supervisor) setUnreadable(unread map[string]error) {
	for _, dir := range slices.Sorted(maps.Keys(unread)) {
		if path, ok := errors.AsType[*fs.PathError](unread[dir]); ok {
			s.awaitReadable([]string{path.Path})
		}
		if s.unreadable[dir] == nil {
			s.publishEvent(state.LevelWarn, "cannot read a folder of pages: its pages keep running, and new ones do not start", state.String("dir", project.Show(s.root, dir)), state.String("err", unread[dir].Error()))
		}
	}
	s.unreadable = unread
}

// inUnreadable reports whether a folder, or one above it, cannot be read.
func (s *Supervisor) inUnreadable(folder string) bool {
	for dir := range s.unreadable {
		if project.Contains(dir, folder) {
			return true
		}
	}
	return false
}

func (s *Supervisor) addPage(ctx context.Context, route, dir string) {
	ctx, cancel := context.WithCancel(ctx)
	p := &pageActor{actor: newActor(s.deps, route, dir, s.settingsOf(route, dir)), cancel: cancel, folder: dir}
	s.pages[route] = p
	s.publishEvent(state.LevelInfo, "page found", state.String("page", route), state.String("dir", project.Show(s.root, dir)))
	s.actors.Go(func() { // ends with ctx
		defer cancel()
		p.run(ctx)
	})
}

func (s *Supervisor) removePage(route string) {
	p := s.pages[route]
	delete(s.pages, route)
	delete(s.removeAt, route)
	p.send(removed{})
	p.cancel()
	s.build.Forget(p.folder)
}

// updateRoutes gives the present pages to the proxy, to whoever serves their files, and
// to the sampler.
func (s *Supervisor) updateRoutes() {
	routes := make(map[string]*proxy.Route, len(s.pages))
	dirs := make(map[string]string, len(s.pages))
	s.byFolder = make(map[string]*pageActor, len(s.pages))
	for route, p := range s.pages {
		routes[route], dirs[route], s.byFolder[p.folder] = p.entry, p.folder, p
	}
	for route := range s.conflicts {
		if routes[route] == nil {
			contested := &proxy.Route{Name: route}
			contested.Refuse(policy.Refusal{Status: http.StatusServiceUnavailable, Title: "This page is not available", Detail: "More than one folder defines this route."})
			routes[route] = contested
		}
	}
	s.setPages(dirs)
	s.proxy.SetRoutes(routes)
	s.sampler.SetRoutes(routes)
}
