package supervisor

import (
	"strings"
	"testing"

	"tqserver/internal/router"
	"tqserver/internal/state"
)

func TestARouteThatTwoFoldersDefineHasThePhaseConflict(t *testing.T) {
	s := &Supervisor{deps: &deps{root: "/shop", store: state.NewStore(state.Server{})}}
	conflict := router.Conflict{Route: "/blog", Dirs: []string{"/shop/pages/blog", "/shop/pages/blog/index"}}
	if !s.setConflicts([]router.Conflict{conflict}) {
		t.Error("the routes do not change")
	}
	p, ok := s.store.Page("/blog")
	if !ok || p.Phase != state.Conflict || p.Trouble.Kind != state.TroubleConflict || !strings.Contains(p.Trouble.Text, "pages/blog, pages/blog/index: several folders") {
		t.Errorf("the page is %+v", p)
	}
	if s.setConflicts([]router.Conflict{conflict}) {
		t.Error("the same conflict changes the routes")
	}
	s.setConflicts(nil)
	if p, ok := s.store.Page("/blog"); ok {
		t.Errorf("the page stays: %+v", p)
	}
}
