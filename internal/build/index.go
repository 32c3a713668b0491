package build

import (
	"path/filepath"
	"slices"

	"tqserver/internal/project"
)

// index finds the pages that a path can affect without checking each page. There
// may be hundreds of pages, and many changes in their folders that are no saves.
type index struct {
	leads map[string]map[*page]bool // by path: it is, or lies above, an input of the page
	holds map[string]map[*page]bool // by folder: files below it can be inputs of the page
	keys  map[*page][2][]string     // of leads and holds
}

// indexLocked updates the index with what a page can be built from now.
func (b *Builder) indexLocked(p *page) {
	b.index.remove(p)
	if b.pages[p.dir] != p {
		return
	}
	leads, holds := make(map[string]bool), map[string]bool{p.dir: true}
	for _, in := range p.possible() {
		for _, path := range slices.Concat(in.Dirs, in.Files) {
			for at := path; !leads[at]; at = filepath.Dir(at) {
				leads[at] = true
			}
		}
		for _, dir := range in.Dirs {
			holds[dir] = true
		}
		for _, e := range in.Embeds {
			holds[e.Dir] = true
		}
	}
	b.index.add(p, leads, holds)
}

func (x *index) add(p *page, leads, holds map[string]bool) {
	if x.keys == nil {
		x.leads, x.holds, x.keys = make(map[string]map[*page]bool), make(map[string]map[*page]bool), make(map[*page][2][]string)
	}
	var keys [2][]string
	for i, of := range []struct {
		paths map[string]bool
		pages map[string]map[*page]bool
	}{{leads, x.leads}, {holds, x.holds}} {
		for path := range of.paths {
			if of.pages[path] == nil {
				of.pages[path] = make(map[*page]bool)
			}
			of.pages[path][p] = true
			keys[i] = append(keys[i], path)
		}
	}
	x.keys[p] = keys
}

func (x *index) remove(p *page) {
	for i, pages := range []map[string]map[*page]bool{x.leads, x.holds} {
		for _, path := range x.keys[p][i] {
			if delete(pages[path], p); len(pages[path]) == 0 {
				delete(pages, path)
			}
		}
	}
	delete(x.keys, p)
}

// candidates returns the pages that a path can affect, and maybe others.
func (x *index) candidates(path string) map[*page]bool {
	found := make(map[*page]bool)
	for p := range x.leads[path] {
		found[p] = true
	}
	for at := path; ; at = filepath.Dir(at) {
		for p := range x.holds[at] {
			found[p] = true
		}
		if at == filepath.Dir(at) {
			return found
		}
	}
}

// Affected returns the pages whose binary a change of the paths can change, each
// with the first such path. Without paths, anything may have changed. The inputs of
// a page outside its folder are known only when a build has ended; its result says
// whether any of them has changed.
func (b *Builder) Affected(paths []string) map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	affected := make(map[string]string)
	if paths == nil {
		for dir := range b.pages {
			affected[dir] = ""
		}
	}
	for _, path := range paths {
		for p := range b.index.candidates(path) {
			if _, known := affected[p.dir]; !known && p.affectedBy(path) {
				affected[p.dir] = path
			}
		}
	}
	return affected
}

// possible returns the inputs of the page, and those that it may turn out to have.
func (p *page) possible() []inputs {
	all := []inputs{p.inputs}
	for _, e := range p.candidates {
		all = append(all, e.Inputs)
	}
	return all
}

func (p *page) affectedBy(path string) bool {
	return p.inputsUnknown && project.Contains(p.dir, path) || slices.ContainsFunc(p.possible(), func(in inputs) bool {
		return in.affectedBy(path) || p.broken && isTest(filepath.Base(path)) && slices.Contains(in.Dirs, filepath.Dir(path))
	})
}
