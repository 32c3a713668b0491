package static

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"tqserver/internal/router"
)

// Mount is a folder whose files are served below a path.
type Mount struct {
	Path         string // begins with a slash and, except for /, does not end with one
	Dir          string // absolute
	CacheControl string // empty means no-cache
}

// Files finds the files to serve. Any goroutine may call its methods.
type Files struct {
	table atomic.Pointer[router.Table[*openMount]]

	mu      sync.Mutex // guards the fields below
	mounts  []Mount
	pages   []Mount
	folders map[source]*folder
	watched map[string]bool // all needed folders and those above them
}

// source says where to look for a folder. That of a page must not be a link.
type source struct {
	dir  string
	page bool
}

// New returns Files that serve nothing.
func New() *Files {
	f := new(Files)
	f.table.Store(new(router.Table[*openMount]))
	return f
}

// SetMounts sets the folders that are served besides those of pages, from the next
// request on. They need not exist.
func (f *Files) SetMounts(mounts []Mount) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mounts = slices.Clone(mounts)
	f.refreshLocked()
}

// SetPages sets the folders of pages by route. Their public folders are served from
// the next request on.
func (f *Files) SetPages(dirs map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pages = f.pages[:0]
	for route, dir := range dirs {
		f.pages = append(f.pages, Mount{Path: route, Dir: filepath.Join(dir, router.Public)})
	}
	f.refreshLocked()
}

// Refresh reopens folders after paths on disk have changed. Nil means that any may
// have changed.
func (f *Files) Refresh(paths []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if paths == nil || slices.ContainsFunc(paths, func(p string) bool { return f.watched[p] }) {
		f.refreshLocked()
	}
}

// Close closes all folders. Nothing is served after that.
func (f *Files) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mounts, f.pages = nil, nil
	f.refreshLocked()
}

// refreshLocked opens the folders that exist, and closes those that have
// disappeared or are not needed any more.
func (f *Files) refreshLocked() {
	before := f.folders
	f.folders, f.watched = make(map[source]*folder), make(map[string]bool)
	byPath := make(map[string]*openMount)
	// For the same path a folder of the configuration comes before that of a page.
	f.openMountsLocked(byPath, before, f.pages, true)
	f.openMountsLocked(byPath, before, f.mounts, false)
	linkFallbacks(byPath)
	f.table.Store(router.NewTable(byPath))
	for from, dir := range before {
		if f.folders[from] != dir {
			dir.root.Close() // after the new table was stored; see Find
		}
	}
}

func (f *Files) openMountsLocked(byPath map[string]*openMount, before map[source]*folder, mounts []Mount, page bool) {
	for _, m := range mounts {
		from := source{m.Dir, page}
		for way := m.Dir; !f.watched[way]; way = filepath.Dir(way) {
			f.watched[way] = true
		}
		if f.folders[from] == nil {
			f.folders[from] = openFolder(from, before[from])
		}
		if f.folders[from] == nil {
			delete(f.folders, from)
			continue
		}
		byPath[m.Path] = &openMount{prefix: strings.TrimSuffix(m.Path, "/"), folder: f.folders[from], cacheControl: m.CacheControl, fallback: byPath[m.Path]}
	}
}

// linkFallbacks sets the last fallback of each path to the folders of the longest
// path above it.
func linkFallbacks(byPath map[string]*openMount) {
	for path, last := range byPath {
		for last.fallback != nil {
			last = last.fallback
		}
		for above := path; above != "/" && last.fallback == nil; {
			above = above[:strings.LastIndexByte(above, '/')]
			if above == "" {
				above = "/"
			}
			last.fallback = byPath[above]
		}
	}
}

// openMount is an open folder below a path.
type openMount struct {
	prefix       string // of request paths, without a slash at its end
	folder       *folder
	cacheControl string
	fallback     *openMount // where to look for files that this folder does not have, or nil
}

// Find opens the file of a request. The handler sends the file and closes it; the
// caller must call it once. Found without a handler means that the file exists, but
// the request's method is not allowed for files.
func (f *Files) Find(r *http.Request) (h http.Handler, found bool) {
	for {
		p, ok := f.table.Load().Match(r.URL.Path)
		if !ok || !hasPlainSlashes(r.URL) {
			return nil, false
		}
		a, err := p.find(r.URL.Path)
		switch {
		case errors.Is(err, fs.ErrClosed):
			continue // the folder was closed: there is a new table
		case err != nil:
			return nil, false
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			a.file.Close()
			return nil, true
		}
		a.chooseEncoding(strings.Join(r.Header.Values("Accept-Encoding"), ","))
		return a, true
	}
}

// find opens the file in this folder or the next fallback that has it.
func (p *openMount) find(path string) (*response, error) {
	for ; p != nil; p = p.fallback {
		name, ok := strings.CutPrefix(path[len(p.prefix):], "/")
		if !ok || !isServable(name) {
			continue
		}
		file, info, err := p.folder.open(name)
		if errors.Is(err, fs.ErrClosed) {
			return nil, err
		}
		if err == nil {
			return &response{mount: p, name: name, file: file, info: info}, nil
		}
	}
	return nil, fs.ErrNotExist
}

// hasPlainSlashes reports whether no slash of the path was percent-encoded.
func hasPlainSlashes(u *url.URL) bool {
	return !strings.Contains(u.RawPath, "%2F") && !strings.Contains(u.RawPath, "%2f")
}

// isServable reports whether a file with this name may be served: no segment is
// empty or begins with a dot.
func isServable(name string) bool {
	return fs.ValidPath(name) && name[0] != '.' && !strings.Contains(name, "/.") && !strings.ContainsAny(name, "\x00\\")
}

// folder is an open folder.
type folder struct {
	root *os.Root
	info fs.FileInfo
}

// openFolder opens a folder. It returns last if that is still the same folder, and
// nil if there is none.
func openFolder(from source, last *folder) *folder {
	stat := os.Stat
	if from.page {
		stat = os.Lstat
	}
	info, err := stat(from.dir)
	if err != nil || !info.IsDir() {
		return nil
	}
	if last != nil && os.SameFile(info, last.info) { // while last is open its inode number is not reused
		return last
	}
	root, err := os.OpenRoot(from.dir)
	if err != nil {
		return nil
	}
	opened, err := root.Stat(".")
	if err != nil || !os.SameFile(info, opened) { // the folder was just replaced, and Refresh will be called
		root.Close()
		return nil
	}
	return &folder{root, opened}
}
