package live

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"tqserver/internal/state"
)

//go:embed live.js
var script string

// scriptName changes with the script, so that browsers may cache it for ever.
var scriptName = func() string {
	sum := sha256.Sum256([]byte(script))
	return "live-" + hex.EncodeToString(sum[:6]) + ".js"
}()

func serveScript(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	w.Write([]byte(script))
}

// changes is a message of the stream: the pages that changed, or all.
type changes struct {
	All   bool         `json:"all,omitempty"`
	Pages []pageReport `json:"pages"`
}

// pageReport is what the script gets to know of a page.
type pageReport struct {
	Page    string       `json:"page"`
	Face    string       `json:"face"`
	Was     string       `json:"was,omitempty"`    // the previous face
	Styles  []string     `json:"styles,omitempty"` // the style sheets that changed since then, if nothing else did
	Files   []string     `json:"files,omitempty"`  // that changed since then, if nothing was built
	Phase   state.Phase  `json:"phase"`
	Dir     string       `json:"dir"`
	Serving int          `json:"serving,omitempty"` // number of the build
	For     int64        `json:"for,omitempty"`     // milliseconds since the build started
	Trouble *shortNotice `json:"trouble,omitempty"`
	Gone    bool         `json:"gone,omitempty"`
}

// since returns what changed after a cursor, the next cursor, and a channel that is
// closed at the next change, nil if there will be none.
func (l *Live) since(after uint64) (n changes, next uint64, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off {
		return changes{}, after, nil
	}
	n = changes{All: after == 0, Pages: []pageReport{}}
	for _, p := range l.pages {
		if p.seq > after && !(n.All && p.gone) {
			n.Pages = append(n.Pages, l.report(p))
		}
	}
	slices.SortFunc(n.Pages, func(a, b pageReport) int { return strings.Compare(a.Page, b.Page) })
	if l.wake == nil {
		l.wake = make(chan struct{})
	}
	return n, max(l.seq, 1), l.wake
}

func (l *Live) report(p page) pageReport {
	r := pageReport{Page: p.Route, Face: p.face, Was: p.was, Phase: p.Phase, Dir: p.Dir, Serving: p.ServingBuild, Gone: p.gone, Trouble: p.trouble.short(p.ServingBuild), Files: p.files}
	if strings.HasPrefix(r.Was, l.epoch+".s") && r.Was == l.servedFace(fmt.Sprint(p.ServingBuild), p.AssetChanges-1) {
		r.Styles = p.styles()
	}
	if p.Phase == state.Building && !p.Build.Started.IsZero() {
		r.For = time.Since(p.Build.Started).Milliseconds()
	}
	return r
}

// tabTimeout is how long a tab may leave a message unread.
const tabTimeout = 30 * time.Second

// serveEvents sends changes until the client disconnects or the server ends.
func (l *Live) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	fmt.Fprint(w, "retry: 300\n\n")
	flush := http.NewResponseController(w)
	for after := uint64(0); ; {
		n, next, more := l.since(after)
		if more == nil {
			return
		}
		after = next
		if n.All || len(n.Pages) > 0 {
			data, err := json.Marshal(n)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
				return
			}
		}
		flush.SetWriteDeadline(time.Now().Add(tabTimeout))
		if flush.Flush() != nil {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}
