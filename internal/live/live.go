package live

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"tqserver/internal/state"
)

// Reserved is the path below which the server answers itself, in development only.
const Reserved = "/_tqserver/"

// Options says what a Live follows.
type Options struct {
	Source state.Source
	Root   string                                    // the project's folder
	Epoch  string                                    // of the server: builds count from 1 in each
	Warn   func(message string, attrs ...state.Attr) // publishes a warning
}

// Live follows the pages. Its methods may be called from any goroutine.
type Live struct {
	src   state.Source
	root  string
	epoch string
	warn  func(message string, attrs ...state.Attr)
	open  func(file string, line int) error

	mu     sync.Mutex      // guards all below
	pages  map[string]page // changed by Run only
	seq    uint64          // of the newest change
	wake   chan struct{}   // closed at the next change; nil if nobody waits
	off    bool            // streams end, and no error is explained
	warned map[string]bool // pages that a warning says cannot be reloaded
	tags   map[string]tag  // the newest of each page
}

// page is a page as a tab sees it.
type page struct {
	state.Page
	trouble *trouble // why its newest version does not serve; kept while the next is built
	face    string
	was     string   // the previous face
	files   []string // that changed since then, if nothing was built
	seq     uint64   // of its newest change
	gone    bool
}

// New returns a Live. It knows no pages until it runs.
func New(opts Options) *Live {
	return &Live{
		src: opts.Source, root: opts.Root, epoch: opts.Epoch, warn: opts.Warn, open: openEditor(opts.Root),
		pages: make(map[string]page), warned: make(map[string]bool), tags: make(map[string]tag),
	}
}

// Run follows the source until the context ends.
func (l *Live) Run(ctx context.Context) {
	defer l.switchOff(true)
	state.Follow(ctx, l.src.Next, state.Cursor{}, func(u state.Update) error {
		l.apply(ctx, u)
		return nil
	})
}

// apply adds what happened.
func (l *Live) apply(ctx context.Context, u state.Update) {
	if s := u.Snapshot; s != nil {
		gone := maps.Clone(l.pages)
		for _, p := range s.Pages {
			l.setPage(p, l.troubleOf(ctx, p))
			delete(gone, p.Route)
		}
		for route := range gone {
			l.removePage(route)
		}
		l.switchOff(s.Server.Stopping || !s.Server.Development)
	}
	for _, e := range u.Events {
		switch {
		case u.Snapshot != nil && e.Seq <= u.Snapshot.Seq:
			continue // the snapshot includes it
		case e.Page != nil && e.Removed:
			l.removePage(e.Page.Route)
		case e.Page != nil:
			l.setPage(*e.Page, l.troubleOf(ctx, *e.Page))
		}
		if e.Server != nil {
			l.switchOff(e.Server.Stopping || !e.Server.Development)
		}
	}
}

func (l *Live) setPage(now state.Page, t *trouble) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.pages[now.Route]
	l.seq++
	p := page{Page: now, seq: l.seq, trouble: t, was: before.was, files: before.files}
	if p.face = l.faceOf(p); p.face != before.face {
		p.was, p.files = before.face, nil
		if now.ServingBuild == before.ServingBuild {
			p.files = now.AssetFiles
		}
	}
	l.pages[now.Route] = p
	l.wakeLocked()
}

func (l *Live) removePage(route string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pages[route]
	l.seq++
	p.Route, p.seq, p.gone, p.trouble = route, l.seq, true, nil
	p.face = l.faceOf(p)
	l.pages[route] = p
	l.wakeLocked()
}

func (l *Live) wakeLocked() {
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
}

// switchOff sets whether the package is off, which ends all streams.
func (l *Live) switchOff(off bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = off
	l.wakeLocked()
}

// isOff reports whether the package is off.
func (l *Live) isOff() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.off
}

// page returns a page, if there is one.
func (l *Live) page(route string) (page, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.pages[route]
	return p, ok && !p.gone
}

// showsTrouble reports whether a tab of a page that does not serve shows its
// trouble. It shows instead that a newer version is under way, but not that the same
// one starts again.
func (p page) showsTrouble() bool {
	return p.trouble != nil && (!underWay(p.Phase) || p.Build.Number == p.trouble.build)
}

func underWay(phase state.Phase) bool {
	return phase == state.Building || phase == state.Starting || phase == state.Waiting
}

// faceOf returns the face of a page: s for a build that serves, with the number of
// changes to its files, e for an error, w for a page that is under way, x for one
// that is stopped or gone.
func (l *Live) faceOf(p page) string {
	switch {
	case p.gone, p.Phase == state.Stopped:
		return l.epoch + ".x"
	case p.ServingBuild > 0:
		return l.servedFace(strconv.Itoa(p.ServingBuild), p.AssetChanges)
	case p.showsTrouble():
		return l.epoch + ".e" + p.trouble.id
	}
	return l.epoch + ".w"
}

// servedFace returns the face of a build that serves.
func (l *Live) servedFace(build string, assets int) string {
	return fmt.Sprintf("%s.s%s.%d", l.epoch, build, assets)
}

// styles returns the names of the style sheets that changed last, nil if other files
// changed too.
func (p page) styles() []string {
	names := make([]string, 0, len(p.AssetFiles))
	for _, file := range p.AssetFiles {
		if filepath.Ext(file) != ".css" {
			return nil
		}
		names = append(names, filepath.Base(file))
	}
	return names
}

// ServeHTTP answers requests below [Reserved].
func (l *Live) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	switch name := strings.TrimPrefix(r.URL.Path, Reserved); {
	case name == "open" && r.Method == http.MethodPost:
		l.serveOpen(w, r)
	case name == "open":
		w.Header().Set("Allow", "POST")
		http.Error(w, "Use POST to open a file.", http.StatusMethodNotAllowed)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Use GET or HEAD.", http.StatusMethodNotAllowed)
	case name == scriptName:
		serveScript(w)
	case name == "events":
		l.serveEvents(w, r)
	default:
		http.Error(w, "There is nothing here.", http.StatusNotFound)
	}
}
