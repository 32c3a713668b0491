package supervisor

import (
	"fmt"
	"slices"
	"strings"

	"tqserver/internal/project"
	"tqserver/internal/router"
	"tqserver/internal/state"
)

// setConflicts sets which routes several folders define, publishes what is new, and
// reports whether the routes change.
func (s *Supervisor) setConflicts(found []router.Conflict) (changed bool) {
	contested := make(map[string][]string)
	for _, c := range found {
		contested[c.Route] = c.Dirs
		if slices.Equal(c.Dirs, s.conflicts[c.Route]) {
			continue
		}
		problem := s.conflictText(c)
		if p := s.pages[c.Route]; p != nil {
			p.send(conflicted{problem})
		}
		page := state.Page{Route: c.Route, Phase: state.Conflict, Trouble: state.Trouble{Kind: state.TroubleConflict, Text: problem}}
		e := state.Event{Level: state.LevelError, Message: "two folders for one route", Attrs: []state.Attr{state.String("page", c.Route), state.String("err", problem)}}
		if s.pages[c.Route] == nil {
			e.Page = &page
			changed = true
		}
		s.store.Publish(e)
	}
	for route := range s.conflicts {
		if contested[route] != nil {
			continue
		}
		changed = true
		if p := s.pages[route]; p != nil {
			p.send(conflicted{})
		} else {
			s.store.Publish(state.Event{Page: &state.Page{Route: route}, Removed: true})
		}
	}
	s.conflicts = contested
	return changed
}

func (s *Supervisor) conflictText(c router.Conflict) string {
	dirs := make([]string, len(c.Dirs))
	for i, dir := range c.Dirs {
		dirs[i] = project.Show(s.root, dir)
	}
	which := "none of them is served"
	if p := s.pages[c.Route]; p != nil {
		which = project.Show(s.root, p.folder) + " keeps serving"
	}
	return fmt.Sprintf("%s: several folders define the route %s; %s until all but one are removed or renamed", strings.Join(dirs, ", "), c.Route, which)
}
