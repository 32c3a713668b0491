package build

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAChangeIsAskedOfFewPages counts whom a change is asked about.
func TestAChangeIsAskedOfFewPages(t *testing.T) {
	b := &Builder{pages: make(map[string]*page)}
	const pages = 300
	for i := range pages {
		dir := fmt.Sprintf("/p/pages/p%d", i)
		p := &page{dir: dir, inputs: inputs{Dirs: []string{dir}, Files: []string{"/p/go.mod", "/p/go.sum"}}}
		if i < 3 {
			p.inputs.Dirs = append(p.inputs.Dirs, "/p/lib")
		}
		if i == 7 {
			p.inputs.Embeds = []embed{{Dir: dir, Patterns: []string{"data"}}}
		}
		b.pages[dir] = p
		b.indexLocked(p)
	}
	for path, want := range map[string][2]int{ // asked, and affected
		"/p/pages/p5/data/x":       {1, 0},
		"/p/pages/p7/data/d/x":     {1, 1},
		"/p/pages/p5/main.go":      {1, 1},
		"/p/pages/p5":              {1, 1},
		"/p/pages/new/data/x":      {0, 0},
		"/p/lib/x.go":              {3, 3},
		"/p/lib/sub/x.go":          {3, 0},
		"/p/templates/layout.html": {0, 0},
		"/p/go.mod":                {pages, pages},
		"/p/pages":                 {pages, pages},
		"/p":                       {pages, pages},
		"/elsewhere":               {0, 0},
	} {
		got := [2]int{len(b.index.candidates(path)), len(b.Affected([]string{path}))}
		if got != want {
			t.Errorf("%s is asked of %d and affects %d, want %v", path, got[0], got[1], want)
		}
	}
	for dir := range b.pages {
		b.Forget(dir)
	}
	if diff := cmp.Diff([3]int{}, [3]int{len(b.index.leads), len(b.index.holds), len(b.index.keys)}); diff != "" {
		t.Errorf("left of pages that went (-want +got):\n%s", diff)
	}
}

func TestWhatAPageIsNotMadeOfAnyMoreIsNotWatched(t *testing.T) {
	parallel(t)
	p := newProject(t, map[string]string{"lib/x.go": "package lib\n\nvar X = 1\n", "pages/a/main.go": libPage})
	watched := func(path string) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, w := range p.watched[p.page] {
			if w == path {
				return true
			}
		}
		return false
	}
	p.good()
	if !watched(p.path("lib")) {
		t.Error("an import is not watched")
	}
	p.write("pages/a/main.go", helloPage)
	p.good()
	if watched(p.path("lib")) {
		t.Error("what is not imported any more is watched")
	}
	p.write("pages/a/main.go", libPage)
	if res := p.build(); !res.Cached || !watched(p.path("lib")) {
		t.Errorf("after an undo the import is not watched: %+v", res)
	}
	p.Forget(p.page)
	if len(p.watched[p.page]) > 0 {
		t.Errorf("of a page that went there is watched %v", p.watched[p.page])
	}
}

// BenchmarkAffected is what a write of a page with data costs beside others.
func BenchmarkAffected(b *testing.B) {
	for _, pages := range []int{3, 300} {
		b.Run(fmt.Sprint(pages), func(b *testing.B) {
			builder := &Builder{pages: make(map[string]*page)}
			for i := range pages {
				dir := fmt.Sprintf("/p/pages/p%d", i)
				p := &page{dir: dir, inputs: inputs{Dirs: []string{dir}, Files: []string{"/p/go.mod"}}}
				builder.pages[dir] = p
				builder.indexLocked(p)
			}
			paths := []string{filepath.Join("/p/pages/p1/data/x.json")}
			for b.Loop() {
				builder.Affected(paths)
			}
		})
	}
}
