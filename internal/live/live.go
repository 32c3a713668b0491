package live

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"tqserver/internal/state"
)

// Reserved is where the server's own answers are, in development only.
const Reserved = "/_tqserver/"

// Live follows the pages. Its methods may be called from any goroutine.
type Live struct {
	store *state.Store
	root  string // of the project
	epoch string // which run of the server this is: builds count from 1 in each
	open  func(file string, line int) error

	mu      sync.Mutex // guards all below
	pages   map[string]page
	seq     uint64          // of the newest change
	wake    chan struct{}   // closed at the next change; nil if nobody waits
	off     bool            // nobody is told anything
	refused map[string]bool // pages of which it was said that they are left alone
	tags    map[string]tag  // the last of each page
}

// page is a page as a tab sees it.
type page struct {
	state.Page
	trouble *trouble // what keeps its newest version from serving, also while it is being mended
	face    string
	was     string   // the face before the present one
	files   []string // that made the difference, if nothing was built
	seq     uint64   // of its newest change
	gone    bool
}

// New returns a Live of the pages in a store.
func New(store *state.Store) *Live {
	server := store.Server()
	return &Live{
		store: store, root: server.Root, epoch: strconv.FormatInt(server.Started.UnixMilli(), 36),
		open: openEditor(server.Root), pages: make(map[string]page), refused: make(map[string]bool), tags: make(map[string]tag),
	}
}

// Run follows the store until the context ends.
func (l *Live) Run(ctx context.Context) {
	for after := uint64(0); ; {
		u, err := l.store.Next(ctx, after)
		if err != nil {
			l.end()
			return
		}
		after = u.Seq
		l.take(u)
	}
}

// take notes what happened.
func (l *Live) take(u state.Update) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u.Snapshot != nil {
		known := l.pages
		l.pages = make(map[string]page)
		for _, p := range u.Snapshot.Pages {
			l.noteLocked(known[p.Route], p)
		}
		for route, p := range known {
			if _, still := l.pages[route]; !still {
				l.goneLocked(route, p)
			}
		}
	}
	for _, e := range u.Events {
		switch {
		case u.Snapshot != nil && e.Seq <= u.Snapshot.Seq:
		case e.Page != nil && e.Removed:
			l.goneLocked(e.Page.Route, l.pages[e.Page.Route])
		case e.Page != nil:
			l.noteLocked(l.pages[e.Page.Route], *e.Page)
		}
		if e.Server != nil {
			l.off = e.Server.Stopping || !e.Server.Development
			l.wakeLocked()
		}
	}
}

func (l *Live) noteLocked(before page, now state.Page) {
	l.seq++
	p := page{Page: now, seq: l.seq, trouble: l.troubleOf(before, now), was: before.was, files: before.files}
	if p.face = l.faceOf(p); p.face != before.face {
		p.was, p.files = before.face, nil
		if now.ServingBuild == before.ServingBuild {
			p.files = now.AssetFiles
		}
	}
	l.pages[now.Route] = p
	l.wakeLocked()
}

func (l *Live) goneLocked(route string, p page) {
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

// end lets all streams end.
func (l *Live) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = true
	l.wakeLocked()
}

// page returns what is known of a page.
func (l *Live) page(route string) (page, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.pages[route]
	return p, ok && !p.gone
}

// broken reports whether what is to be said of a page that does not serve is its
// trouble. A newer version that is under way is said in its place, another start
// of the same one is not.
func (p page) broken() bool {
	return p.trouble != nil && (!underWay(p.Phase) || p.Build.Number == p.trouble.build)
}

func underWay(phase state.Phase) bool {
	return phase == state.Building || phase == state.Starting || phase == state.Waiting
}

// faceOf names what a tab is shown: s for a build that serves, with the state of
// the files beside it, e for an error, w for a page that is under way, x for one
// that is stopped or gone.
func (l *Live) faceOf(p page) string {
	switch {
	case p.gone, p.Phase == state.Stopped:
		return l.epoch + ".x"
	case p.ServingBuild > 0:
		return l.served(strconv.Itoa(p.ServingBuild), p.AssetChanges)
	case p.broken():
		return l.epoch + ".e" + p.trouble.id
	}
	return l.epoch + ".w"
}

// served is the face of a build that serves.
func (l *Live) served(build string, assets int) string {
	return fmt.Sprintf("%s.s%s.%d", l.epoch, build, assets)
}

// styles returns the names of the style sheets that changed last, if they are
// all that did.
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

// ServeHTTP answers what lies below [Reserved].
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

// warn publishes a warning.
func (l *Live) warn(message string, attrs ...state.Attr) {
	l.store.Publish(state.Event{Level: state.LevelWarn, Message: message, Attrs: attrs})
}
