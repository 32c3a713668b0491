package supervisor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tqserver/internal/state"
)

func (s *harness) changeAssets(files ...string) { s.page.send(assetsChanged{files}) }

// shown is the page as front ends see it.
func (s *harness) shown() state.Page {
	s.t.Helper()
	p, ok := s.page.store.Page("/")
	if !ok {
		s.t.Fatal("there is no page")
	}
	return p
}

func TestTouchedFilesCountOnceWhenTheyAreQuiet(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		for range 5 {
			s.changeAssets(s.page.root + "/b.css")
			s.changeAssets(s.page.root + "/a.html")
			s.after(49 * time.Millisecond)
		}
		if n := s.shown().AssetChanges; n != 0 {
			t.Errorf("they count %d times while they change", n)
		}
		s.after(time.Millisecond)
		if got := s.shown(); got.AssetChanges != 1 || !cmp.Equal(got.AssetFiles, []string{"a.html", "b.css"}) {
			t.Errorf("%d changes, of %q", got.AssetChanges, got.AssetFiles)
		}
		s.changeAssets()
		s.after(time.Second)
		if got := s.shown(); got.AssetChanges != 2 || got.AssetFiles != nil {
			t.Errorf("%d changes, of %q, where it can be any", got.AssetChanges, got.AssetFiles)
		}
	})
}

func TestFilesTouchedBesideASaveCountWithItsSwap(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		seen := s.shown()
		s.changeAssets(s.page.root + "/a.html")
		s.save("v2")
		for at := time.Duration(0); at < time.Second; at += time.Millisecond {
			s.after(time.Millisecond)
			now := s.shown()
			if changed := now.AssetChanges != seen.AssetChanges; changed != (now.ServingBuild != seen.ServingBuild) {
				t.Fatalf("after %v: build %d with %d changes, before it %d with %d", at, now.ServingBuild, now.AssetChanges, seen.ServingBuild, seen.AssetChanges)
			}
			seen = now
		}
		if seen.ServingBuild != 2 || seen.AssetChanges != 1 {
			t.Errorf("at the end build %d with %d changes", seen.ServingBuild, seen.AssetChanges)
		}
	})
}

func TestFilesTouchedBesideABrokenSaveCountAfterIt(t *testing.T) {
	withPage(t, nil, func(s *harness) {
		s.after(time.Second)
		s.changeAssets(s.page.root + "/a.html")
		s.save("broken")
		s.after(150 * time.Millisecond)
		if n := s.shown().AssetChanges; n != 0 {
			t.Errorf("they count %d times during the build", n)
		}
		s.after(time.Second)
		if got := s.shown(); got.AssetChanges != 1 || got.ServingBuild != 1 {
			t.Errorf("build %d with %d changes", got.ServingBuild, got.AssetChanges)
		}
	})
}

func TestOnlyFilesThatAreMeantToStayCount(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"a.css": true, "public/deep/a.css": true, "a#b": true, "49131": true, "_partial.html": true,
		".a.css.swp": false, ".git/HEAD": false, "a.html~": false, "#a.html#": false, ".#a.html": false, "4913": false, "a.html___jb_tmp___": false,
	} {
		if got := isLasting("/p", "/p/"+name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
