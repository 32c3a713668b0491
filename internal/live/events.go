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

// scriptName changes with the script, so that it can be kept for ever.
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

// news is what the stream tells: pages that changed, or all.
type news struct {
	All   bool     `json:"all,omitempty"`
	Pages []report `json:"pages"`
}

// report is what the script needs to know of a page.
type report struct {
	Page    string       `json:"page"`
	Face    string       `json:"face"`
	Was     string       `json:"was,omitempty"`    // the face before
	Styles  []string     `json:"styles,omitempty"` // style sheets that are all that changed since then
	Files   []string     `json:"files,omitempty"`  // that changed since then, if nothing was built
	Phase   state.Phase  `json:"phase"`
	Dir     string       `json:"dir"`
	Serving int          `json:"serving,omitempty"` // number of the build
	For     int64        `json:"for,omitempty"`     // milliseconds that a build runs
	Trouble *shortNotice `json:"trouble,omitempty"`
	Gone    bool         `json:"gone,omitempty"`
}

// since returns what changed after a cursor, the next cursor, and what is closed
// when there is more; nothing if there will be no more.
func (l *Live) since(after uint64) (n news, next uint64, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off {
		return news{}, after, nil
	}
	n = news{All: after == 0, Pages: []report{}}
	for _, p := range l.pages {
		if p.seq > after && !(n.All && p.gone) {
			n.Pages = append(n.Pages, l.report(p))
		}
	}
	slices.SortFunc(n.Pages, func(a, b report) int { return strings.Compare(a.Page, b.Page) })
	if l.wake == nil {
		l.wake = make(chan struct{})
	}
	return n, max(l.seq, 1), l.wake
}

func (l *Live) report(p page) report {
	r := report{Page: p.Route, Face: p.face, Was: p.was, Phase: p.Phase, Dir: p.Dir, Serving: p.ServingBuild, Gone: p.gone, Trouble: p.trouble.short(p.ServingBuild), Files: p.files}
	if strings.HasPrefix(r.Was, l.epoch+".s") && r.Was == l.served(fmt.Sprint(p.ServingBuild), p.AssetChanges-1) {
		r.Styles = p.styles()
	}
	if p.Phase == state.Building && !p.Build.Started.IsZero() {
		r.For = time.Since(p.Build.Started).Milliseconds()
	}
	return r
}

// tabPatience is how long a tab may take nothing of what it is told.
const tabPatience = 30 * time.Second

// serveEvents tells what changes until the client leaves or the server ends.
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
		flush.SetWriteDeadline(time.Now().Add(tabPatience))
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
